// Asks a passkey, and sends its answer with the form that has the id "passkey". Nothing else on these pages needs a script.
"use strict";
(() => {
	const form = document.getElementById("passkey");
	if (!form || !window.PublicKeyCredential) {
		return;
	}
	form.hidden = false;
	const purpose = form.dataset.for;
	const failed = document.getElementById("passkey-failed");

	const bytes = text => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), c => c.charCodeAt(0));
	const text = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
	const described = list => (list || []).map(c => ({...c, id: bytes(c.id)}));

	async function begin() {
		const answer = await fetch("/passkey/begin", {method: "POST", body: new URLSearchParams({for: purpose})});
		if (!answer.ok) {
			throw new Error("refused");
		}
		return answer.json();
	}

	async function create(o) {
		const publicKey = {
			...o, challenge: bytes(o.challenge), user: {...o.user, id: bytes(o.user.id)}, excludeCredentials: described(o.excludeCredentials),
		};
		const c = await navigator.credentials.create({publicKey});
		return {
			id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment || undefined, clientExtensionResults: {},
			response: {
				clientDataJSON: text(c.response.clientDataJSON), attestationObject: text(c.response.attestationObject),
				transports: c.response.getTransports ? c.response.getTransports() : [],
			},
		};
	}

	async function get(o, more) {
		const publicKey = {...o, challenge: bytes(o.challenge), allowCredentials: described(o.allowCredentials)};
		const c = await navigator.credentials.get({publicKey, ...more});
		return {
			id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment || undefined, clientExtensionResults: {},
			response: {
				clientDataJSON: text(c.response.clientDataJSON), authenticatorData: text(c.response.authenticatorData),
				signature: text(c.response.signature), userHandle: c.response.userHandle ? text(c.response.userHandle) : undefined,
			},
		};
	}

	function send(credential, state) {
		form.elements.credential.value = JSON.stringify(credential);
		form.elements.state.value = state;
		form.submit();
	}

	let waiting = new AbortController();
	form.addEventListener("submit", async event => {
		event.preventDefault();
		waiting.abort();
		failed.hidden = true;
		try {
			const {options, state} = await begin();
			send(await (purpose === "enrol" ? create(options) : get(options)), state);
		} catch {
			failed.hidden = false;
		}
	});

	// Where the browser can, it offers passkeys among the names that it fills in.
	async function offer() {
		if (purpose !== "login" || !PublicKeyCredential.isConditionalMediationAvailable || !await PublicKeyCredential.isConditionalMediationAvailable()) {
			return;
		}
		try {
			const {options, state} = await begin();
			send(await get(options, {mediation: "conditional", signal: waiting.signal}), state);
		} catch {
			// The person logged in otherwise, or the button was pressed.
		}
	}
	offer();
})();

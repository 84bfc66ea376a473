// An OpenID provider that others have written (github.com/panva/node-oidc-provider), for the browser tests: HTTPS on a free port of this
// machine. It says its issuer in a line after "test: ", reads a line of JSON about its one client, and lives until its standard input ends. Whoever logs in
// is who they say: the account's name is what was typed. Its cookies are of its port, so that two of them are two sites to a browser.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import readline from 'node:readline';
import Provider from 'oidc-provider';

const pem = readFileSync(process.argv[2]);
let answer = (_, res) => res.writeHead(503).end();
const server = https.createServer({ cert: pem, key: pem }, (req, res) => answer(req, res));

// toEdge asks edge, whose names no resolver knows; edge is at this machine's loopback.
function toEdge(url, { method, headers, body }) {
  const at = new URL(url);
  return new Promise((resolve, reject) => {
    const req = https.request({
      host: '127.0.0.1', port: at.port, path: at.pathname, method, servername: at.hostname, ca: pem,
      headers: { ...Object.fromEntries(new Headers(headers)), host: at.host },
    }, (res) => {
      res.resume().on('end', () => resolve(new Response(null, { status: res.statusCode })));
    });
    req.on('error', reject).end(body?.toString());
  });
}

function start(issuer, client) {
  const provider = new Provider(issuer, {
    clients: [{ ...client, grant_types: ['authorization_code'], response_types: ['code'], token_endpoint_auth_method: 'client_secret_basic' }],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
    pkce: { required: () => true },
    cookies: { names: { session: `_session_${new URL(issuer).port}`, interaction: `_interaction_${new URL(issuer).port}`, resume: `_resume_${new URL(issuer).port}` } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, email: `${id}@corp.test`, email_verified: true, groups: ['staff', 'secret'] }),
    }),
    fetch: toEdge,
  });
  provider.on('backchannel.success', () => console.log('test: told'));
  for (const event of ['server_error', 'backchannel.error', 'grant.error', 'authorization.error']) {
    provider.on(event, (...args) => console.error(event, args.find((a) => a instanceof Error)));
  }
  answer = provider.callback();
}

server.listen(0, '127.0.0.1', () => {
  const issuer = `https://localhost:${server.address().port}`;
  readline.createInterface({ input: process.stdin })
    .once('line', (line) => { start(issuer, JSON.parse(line)); console.log('test: ready'); })
    .once('close', () => process.exit(0));
  console.log(`test: ${issuer}`);
});

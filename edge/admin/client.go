package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// A client that finds nobody tries again after retryEvery, for at most retryFor: at an upgrade the socket passes from one process to the next.
const (
	retryEvery = 20 * time.Millisecond
	retryFor   = 5 * time.Second
)

// Ask asks the edge whose control socket is at path, waits for its answer, at most until ctx ends, and decodes it into result. What was not begun
// because the socket passed to another process meanwhile is asked for again, and of what was begun there is an answer or an error.
func Ask(ctx context.Context, path, op string, args, result any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return err
	}
	r := request{V: version, Op: op, Args: text}
	tries, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	return askWhile(ctx, tries, path, r, result)
}

// askWhile asks, again until tries ends.
func askWhile(ctx, tries context.Context, path string, r request, result any) error {
	for {
		a, begun, err := once(ctx, path, r)
		switch {
		case err == nil && a.Moved:
			err = errors.New(a.Error)
		case err == nil && a.Error != "":
			return errors.New(a.Error)
		case err == nil:
			return json.Unmarshal(a.Result, result)
		case begun:
			return err
		}
		select {
		case <-time.After(retryEvery):
		case <-tries.Done():
			return err
		}
	}
}

// once asks once. begun says that the server may have begun what was asked for.
func once(ctx context.Context, path string, r request) (a answer, begun bool, err error) {
	c, err := dial(ctx, path)
	if err != nil {
		return a, false, err
	}
	defer c.Close()
	end, limited := ctx.Deadline()
	if !limited {
		end = time.Now().Add(maxWait)
	}
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	var h hello
	if err := read(c, end, &h); err != nil {
		return a, false, fmt.Errorf("%s does not answer: %w", path, err)
	}
	if h.Error != "" {
		return a, true, errors.New(h.Error) // not begun, but it would be the same again
	}
	if h.V != version {
		return a, true, fmt.Errorf("the edge that runs speaks version %d on its control socket, this program %d", h.V, version)
	}
	if err := write(c, r); err != nil {
		return a, false, err // what is not a whole line is not done
	}
	if err := read(c, end, &a); err != nil {
		return a, true, fmt.Errorf("process %d gives no answer: %w", h.PID, err)
	}
	return a, true, nil
}

// dial connects. As in bind, the path may be long.
func dial(ctx context.Context, path string) (net.Conn, error) {
	folder, name, done, err := open(path)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, name))
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if err != nil {
		return nil, fmt.Errorf("nobody answers on %s: %w", path, err)
	}
	return c, nil
}

package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"edge/reload/caretaker"
	"edge/reload/upgrade"
)

// isProcess1 says whether this process's end would end all others.
var isProcess1 = func() bool { return os.Getpid() == 1 }

// exitStatus is that of the child that has done our work, and has said why.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// takeCare serves by a child.
func takeCare(program upgrade.Program, signals <-chan os.Signal, log *slog.Logger) error {
	if os.Getenv("LISTEN_FDS") != "" {
		log.Warn("sockets were passed to process 1, and cannot be passed on to its child: it binds its own")
	}
	env := slices.DeleteFunc(slices.Clone(program.Env), func(v string) bool { return strings.HasPrefix(v, "FDSTORE=") }) // what is stored would come to us
	status, err := caretaker.Run(caretaker.Service{
		Path: program.Path, Args: append([]string{program.Path}, program.Args...), Dir: program.Dir, Env: env, Signals: signals, Log: log,
	})
	if err == nil && status != 0 {
		return exitStatus(status)
	}
	return err
}

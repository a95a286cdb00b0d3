// Command logind is the part of systemd-logind that a kubelet with a shutdownGracePeriod talks to: it hands out inhibitor locks, and says that
// the machine is about to shut down (SIGUSR1) or that it will not after all (SIGUSR2). One line on stdout for each thing that happens.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

const (
	path = dbus.ObjectPath("/org/freedesktop/login1")
	name = "org.freedesktop.login1"
	face = "org.freedesktop.login1.Manager"
	// No kubelet of the tests asks for more, and so none rewrites logind's configuration.
	delay = uint64(120_000_000)
)

type manager struct{}

// Inhibit answers the write end of a pipe; the lock is held until that is closed.
func (manager) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fmt.Printf("lock %s %s of %s: %s\n", mode, what, who, why)
	go func() {
		// The descriptor is sent after this method has returned, and the answer's own copy must stay open until then.
		_, _ = read.Read(make([]byte, 1))
		read.Close()
		fmt.Printf("released by %s\n", who)
	}()
	fd, err := syscall.Dup(int(write.Fd()))
	write.Close()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	sent = append(sent, fd)
	return dbus.UnixFD(fd), nil
}

// Descriptors that were handed out; ours are closed before a shutdown is announced, so that the receiver's close is the last.
var sent []int

func run() error {
	connection, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.Export(manager{}, path, face); err != nil {
		return err
	}
	properties := prop.Map{face: {"InhibitDelayMaxUSec": {Value: delay, Writable: false, Emit: prop.EmitFalse}}}
	if _, err := prop.Export(connection, path, properties); err != nil {
		return err
	}
	if reply, err := connection.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("the name %s: %v %v", name, reply, err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	fmt.Println("up")
	for received := range signals {
		for _, fd := range sent {
			syscall.Close(fd)
		}
		sent = nil
		going := received == syscall.SIGUSR1
		fmt.Printf("shutdown %v\n", going)
		if err := connection.Emit(path, face+".PrepareForShutdown", going); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "logind:", err)
		os.Exit(1)
	}
}

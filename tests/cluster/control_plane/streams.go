package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	idle    = 4 * time.Hour
	pending = 30 * time.Second
)

// pods is a folder of the node: NAMESPACE/POD/address holds the address of a pod, and
// NAMESPACE/POD/enter-CONTAINER is a program that runs its arguments as that container would.
type pods string

// nodeStreams is the part of a kubelet that kubectl port-forward and kubectl exec need; what else is
// asked of the node, its logs, is asked of another server.
func nodeStreams() *cobra.Command {
	var folder, logs, certificate, key string
	var port int
	command := &cobra.Command{Use: "node-streams", RunE: func(*cobra.Command, []string) error {
		target, err := url.Parse(logs)
		if err != nil {
			return err
		}
		others := httputil.NewSingleHostReverseProxy(target)
		others.FlushInterval = -1
		// the certificate is the node's own, and on loopback
		others.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		routes := http.NewServeMux()
		routes.Handle("/", others)
		routes.HandleFunc("/portForward/{namespace}/{pod}", pods(folder).forward)
		routes.HandleFunc("/exec/{namespace}/{pod}/{container}", pods(folder).execute)
		// streams are upgrades of HTTP/1.1
		plain := map[string]func(*http.Server, *tls.Conn, http.Handler){}
		server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", port), Handler: routes, TLSNextProto: plain}
		return server.ListenAndServeTLS(certificate, key)
	}}
	flags := command.Flags()
	flags.StringVar(&folder, "pods", "", "the folder that says where pods are")
	flags.StringVar(&logs, "logs", "", "the address of the server of logs")
	flags.StringVar(&certificate, "certificate", "", "the node's certificate")
	flags.StringVar(&key, "key", "", "its key")
	flags.IntVar(&port, "port", 0, "the port to listen on")
	return command
}

func (p pods) forward(response http.ResponseWriter, request *http.Request) {
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	name := filepath.Join(request.PathValue("namespace"), request.PathValue("pod"))
	portforward.ServePortForward(response, request, p, name, "", options, idle, pending, portforward.SupportedProtocols)
}

func (p pods) execute(response http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	name := filepath.Join(request.PathValue("namespace"), request.PathValue("pod"))
	command := request.URL.Query()["command"]
	remotecommand.ServeExec(response, request, p, name, "", request.PathValue("container"), command,
		options, idle, pending, remotecommand.SupportedStreamingProtocols)
}

// PortForward copies between a stream and a port of a pod until either ends.
func (p pods) PortForward(ctx context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	address, err := os.ReadFile(filepath.Join(string(p), name, "address"))
	if err != nil {
		return fmt.Errorf("pod %s is not on this node", name)
	}
	place := net.JoinHostPort(strings.TrimSpace(string(address)), strconv.Itoa(int(port)))
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", place)
	if err != nil {
		return err
	}
	defer connection.Close()
	ended := make(chan error, 2)
	go func() { _, err := io.Copy(connection, stream); ended <- err }()
	go func() { _, err := io.Copy(stream, connection); ended <- err }()
	return <-ended
}

// ExecInContainer runs a command as a container would.
func (p pods) ExecInContainer(ctx context.Context, name, _, container string, arguments []string,
	in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	program := filepath.Join(string(p), name, "enter-"+container)
	command := exec.CommandContext(ctx, program, arguments...)
	command.Stdin, command.WaitDelay = in, time.Second
	if out != nil {
		command.Stdout = out
	}
	if err != nil {
		command.Stderr = err
	}
	failure := command.Run()
	var exit *exec.ExitError
	if errors.As(failure, &exit) {
		return utilexec.CodeExitError{Err: failure, Code: exit.ExitCode()}
	}
	return failure
}

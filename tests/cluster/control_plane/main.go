// Command control_plane is a Kubernetes control plane in one program: etcd, the API server, the
// controller manager and the scheduler, each by its own name and with its own flags; it ends when its
// standard input does. So does node-streams, what a node streams. Called by the name kubectl, it is that.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		kubectl()
		return
	}
	// each registers flags and metrics of the whole process, so only the one asked for is made
	parts := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"node-streams":            nodeStreams,
	}
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	go endWithParent()
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	create, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "received %q; expected etcd, kube-apiserver, kube-controller-manager, kube-scheduler or node-streams\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(create()))
}

// endWithParent ends this process once its input is closed, as it is when its parent is killed.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

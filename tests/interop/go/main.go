// SPDX-License-Identifier: Apache-2.0

// grpc-go, with the kubelet's own generated stubs, acts as the kubelet. See kubelet.py for the
// arguments and for what each case means; grpc-python.py has the same cases.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const mib = 1 << 20

var (
	skip   = flag.String("skip", "", "cases to skip")
	update = flag.String("update", "", "command that makes the target send a new list")
	_      = flag.Float64("rss-mb", 16, "unused here")
)

type kubelet struct {
	pb.UnimplementedRegistrationServer
	folder, endpoint string
	requests         chan *pb.RegisterRequest
	server           *grpc.Server
	target           *exec.Cmd
	terminated       bool
}

func (k *kubelet) Register(_ context.Context, r *pb.RegisterRequest) (*pb.Empty, error) {
	k.requests <- r
	return &pb.Empty{}, nil
}

func (k *kubelet) serve() error {
	path := filepath.Join(k.folder, "kubelet.sock")
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	k.server = grpc.NewServer()
	pb.RegisterRegistrationServer(k.server, k)
	go k.server.Serve(listener)
	return nil
}

func (k *kubelet) waitForRegistration() error {
	select {
	case r := <-k.requests:
		if r.Version != pb.Version || !strings.Contains(r.ResourceName, "/") {
			return fmt.Errorf("odd registration: %v", r)
		}
		k.endpoint = filepath.Join(k.folder, r.Endpoint)
		_, err := os.Stat(k.endpoint)
		return err
	case <-time.After(20 * time.Second):
		return fmt.Errorf("nothing registered within 20 s")
	}
}

// The kubelet's own way to dial: a unix dialler, a blocking first connection.
func (k *kubelet) dial(more ...grpc.DialOption) *grpc.ClientConn {
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", k.endpoint)
		}),
	}, more...)
	conn, err := grpc.NewClient("passthrough:///"+k.endpoint, options...)
	if err != nil {
		panic(err)
	}
	return conn
}

func within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func expectCode(wanted codes.Code, err error) error {
	if got := status.Code(err); got != wanted {
		return fmt.Errorf("wanted %v, got %v: %v", wanted, got, err)
	}
	return nil
}

// use runs one function on a connection of its own.
func (k *kubelet) use(f func(pb.DevicePluginClient) error, more ...grpc.DialOption) error {
	conn := k.dial(more...)
	defer conn.Close()
	return f(pb.NewDevicePluginClient(conn))
}

func devices(c pb.DevicePluginClient) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := c.ListAndWatch(ctx, &pb.Empty{})
	if err != nil {
		return nil, err
	}
	list, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range list.Devices {
		if d.Health == pb.Healthy {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) < 4 {
		return nil, fmt.Errorf("only %d devices", len(ids))
	}
	return ids, nil
}

func requestOf(ids ...string) *pb.AllocateRequest {
	r := &pb.AllocateRequest{}
	for _, id := range ids {
		r.ContainerRequests = append(r.ContainerRequests, &pb.ContainerAllocateRequest{DevicesIds: []string{id}})
	}
	return r
}

// filled is an Empty that carries one unknown field of n bytes: every target skips over it.
func filled(n int) *pb.Empty {
	e := &pb.Empty{}
	b := protowire.AppendTag(nil, 2047, protowire.BytesType)
	e.ProtoReflect().SetUnknown(protowire.AppendBytes(b, make([]byte, n)))
	return e
}

func options(c pb.DevicePluginClient) error {
	_, err := c.GetDevicePluginOptions(within(5*time.Second), &pb.Empty{})
	return err
}

func watch(c pb.DevicePluginClient) error {
	_, err := devices(c)
	return err
}

func (k *kubelet) update() error {
	command := strings.ReplaceAll(*update, "{pid}", strconv.Itoa(k.target.Process.Pid))
	return exec.Command("sh", "-c", command).Run()
}

func (k *kubelet) watchUpdates(c pb.DevicePluginClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := c.ListAndWatch(ctx, &pb.Empty{})
	if err != nil {
		return err
	}
	var lists []*pb.ListAndWatchResponse
	for i := 0; i < 3; i++ {
		list, err := stream.Recv()
		if err != nil {
			return err
		}
		lists = append(lists, list)
		if i < 2 {
			if err := k.update(); err != nil {
				return err
			}
		}
	}
	if proto.Equal(lists[0], lists[1]) || !proto.Equal(lists[0], lists[2]) {
		return fmt.Errorf("not the lists that were wanted: %v", lists)
	}
	return nil
}

func allocate(c pb.DevicePluginClient) error {
	ids, err := devices(c)
	if err != nil {
		return err
	}
	answer, err := c.Allocate(within(5*time.Second), requestOf(ids[0], ids[1]))
	if err == nil && len(answer.ContainerResponses) != 2 {
		err = fmt.Errorf("odd answer: %v", answer)
	}
	return err
}

func prefer(c pb.DevicePluginClient) error {
	ids, err := devices(c)
	if err != nil {
		return err
	}
	answer, err := c.GetPreferredAllocation(within(5*time.Second), &pb.PreferredAllocationRequest{
		ContainerRequests: []*pb.ContainerPreferredAllocationRequest{
			{AvailableDeviceIDs: ids[:4], AllocationSize: 2}}})
	if err == nil && len(answer.ContainerResponses[0].DeviceIDs) != 2 {
		err = fmt.Errorf("odd answer: %v", answer)
	}
	return err
}

func cancelWatches(c pb.DevicePluginClient) error {
	for i := 0; i < 20; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := c.ListAndWatch(ctx, &pb.Empty{})
		if err != nil {
			cancel()
			return err
		}
		if _, err = stream.Recv(); err != nil {
			cancel()
			return err
		}
		cancel()
		if _, err = stream.Recv(); status.Code(err) != codes.Canceled {
			return fmt.Errorf("after the cancel: %v", err)
		}
	}
	return options(c)
}

func deadlineOfStream(c pb.DevicePluginClient) error {
	stream, err := c.ListAndWatch(within(500*time.Millisecond), &pb.Empty{})
	for err == nil {
		_, err = stream.Recv()
	}
	return expectCode(codes.DeadlineExceeded, err)
}

func slow(c pb.DevicePluginClient) error {
	_, err := c.Allocate(within(300*time.Millisecond), requestOf("slow"))
	return expectCode(codes.DeadlineExceeded, err)
}

// 2,000 slow calls whose deadlines pass together are reset together, which is no flood.
func slowMany(c pb.DevicePluginClient) error {
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for i := 0; i < 2000; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			c.Allocate(ctx, requestOf("slow"))
		}()
	}
	group.Wait()
	return options(c)
}

func inFlight(c pb.DevicePluginClient) error {
	ids, err := devices(c)
	if err != nil {
		return err
	}
	failures := make(chan error, 2000)
	ctx := within(60 * time.Second)
	for i := 0; i < 2000; i++ {
		go func() {
			_, err := c.Allocate(ctx, requestOf(ids[0]))
			failures <- err
		}()
	}
	for i := 0; i < 2000; i++ {
		if err := <-failures; err != nil {
			return err
		}
	}
	return nil
}

func manyWatches(c pb.DevicePluginClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var streams []grpc.ServerStreamingClient[pb.ListAndWatchResponse]
	for i := 0; i < 90; i++ {
		stream, err := c.ListAndWatch(ctx, &pb.Empty{})
		if err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	for _, stream := range streams {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	return nil
}

func large(c pb.DevicePluginClient) error {
	_, err := c.GetDevicePluginOptions(within(20*time.Second), filled(3*mib))
	return err
}

func tooLarge(c pb.DevicePluginClient) error {
	_, err := c.GetDevicePluginOptions(within(20*time.Second), filled(5*mib))
	if err := expectCode(codes.ResourceExhausted, err); err != nil {
		return err
	}
	return options(c)
}

func (k *kubelet) unknown() error {
	conn := k.dial()
	defer conn.Close()
	for _, path := range []string{"/v1beta1.DevicePlugin/Nonsense", "/no.Service/Allocate"} {
		err := conn.Invoke(within(5*time.Second), path, &pb.Empty{}, &pb.Empty{})
		if err := expectCode(codes.Unimplemented, err); err != nil {
			return err
		}
	}
	return nil
}

func compressed(c pb.DevicePluginClient) error {
	_, err := c.GetDevicePluginOptions(within(5*time.Second), filled(10000), grpc.UseCompressor(gzip.Name))
	if err := expectCode(codes.Unimplemented, err); err != nil {
		return err
	}
	return options(c)
}

func (k *kubelet) reconnects() error {
	for i := 0; i < 200; i++ {
		if err := k.use(options); err != nil {
			return err
		}
	}
	return nil
}

func (k *kubelet) restart() error {
	k.server.Stop()
	for len(k.requests) > 0 {
		<-k.requests
	}
	if err := k.serve(); err != nil {
		return err
	}
	began := time.Now()
	if err := k.waitForRegistration(); err != nil {
		return err
	}
	if took := time.Since(began); took > 2*time.Second {
		return fmt.Errorf("registered again only after %v", took)
	}
	return k.use(options)
}

func (k *kubelet) terminate() {
	if !k.terminated {
		k.target.Process.Signal(syscall.SIGTERM)
	}
	k.terminated = true
}

func (k *kubelet) stopWithOpenWatch(c pb.DevicePluginClient) error {
	stream, err := c.ListAndWatch(within(20*time.Second), &pb.Empty{})
	if err != nil {
		return err
	}
	if _, err = stream.Recv(); err != nil {
		return err
	}
	k.terminate()
	for err == nil {
		_, err = stream.Recv()
	}
	return expectCode(codes.Unavailable, err)
}

func (k *kubelet) stop() error {
	k.terminate()
	if err := k.target.Wait(); err != nil {
		return err
	}
	if _, err := os.Stat(k.endpoint); !os.IsNotExist(err) {
		return fmt.Errorf("%s was left behind", k.endpoint)
	}
	return nil
}

func (k *kubelet) on(f func(pb.DevicePluginClient) error, more ...grpc.DialOption) func() error {
	return func() error { return k.use(f, more...) }
}

func isSkipped(name string) bool {
	if name == "update" && *update == "" {
		return true
	}
	for _, s := range strings.Split(*skip, ",") {
		if s == name {
			return true
		}
	}
	return false
}

func (k *kubelet) start(argv []string) error {
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "{dir}", k.folder)
	}
	k.target = exec.Command(argv[0], argv[1:]...)
	k.target.Stdout, k.target.Stderr = os.Stderr, os.Stderr
	return k.target.Start()
}

func main() {
	flag.Parse()
	argv := flag.Args()
	if len(argv) > 1 && argv[1] == "--" {
		argv = append(argv[:1:1], argv[2:]...)
	}
	if len(argv) < 2 {
		fmt.Fprintln(os.Stderr, "usage: grpc-go [--skip CASES] [--update COMMAND] DIR -- TARGET [ARGUMENT...]")
		os.Exit(2)
	}
	k := &kubelet{folder: argv[0], requests: make(chan *pb.RegisterRequest, 64)}
	if err := k.serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := k.start(argv[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer k.target.Process.Kill()

	failed := 0
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"register", k.waitForRegistration},
		{"options", k.on(options)},
		{"watch", k.on(watch)},
		{"update", k.on(k.watchUpdates)},
		{"allocate", k.on(allocate)},
		{"prefer", k.on(prefer)},
		{"cancel", k.on(cancelWatches)},
		{"deadline of a stream", k.on(deadlineOfStream)},
		{"slow", k.on(slow)},
		{"slow together", k.on(slowMany)},
		{"2000 calls in flight", k.on(inFlight)},
		{"90 watches", k.on(manyWatches)},
		{"message of 3 MiB", k.on(large)},
		{"message of 5 MiB", k.on(tooLarge)},
		{"unknown method", k.unknown},
		{"compressed request", k.on(compressed)},
		// Kubelets before 1.26 send the path itself.
		{"path as authority", func() error { return k.use(options, grpc.WithAuthority(k.endpoint)) }},
		{"200 connections", k.reconnects},
		{"restart", k.restart},
		{"stop with an open watch", k.on(k.stopWithOpenWatch)},
		{"stop", k.stop},
	} {
		if isSkipped(c.name) {
			continue // no case of this target's, and so none that was skipped
		}
		if err := c.run(); err != nil {
			failed++
			text := bytes.ReplaceAll([]byte(err.Error()), []byte("\n"), []byte("\n  "))
			fmt.Printf("not ok - grpc-go: %s\n  %s\n", c.name, text)
			if c.name == "register" {
				break
			}
			continue
		}
		fmt.Printf("ok - grpc-go: %s\n", c.name)
	}
	if failed > 0 {
		k.target.Process.Kill()
		os.Exit(1)
	}
}

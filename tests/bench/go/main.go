// SPDX-License-Identifier: Apache-2.0

// A device plugin on grpc-go that answers Allocate and GetPreferredAllocation as ours does, without
// doing more: the peer that `make bench` measures in the same run.
//
//	peer SOCKET ID...
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	total map[string]int
	known map[string]bool
}

func uuid(id string) string {
	return strings.SplitN(id, "::", 2)[0]
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, one := range request.ContainerRequests {
		seen, list := map[string]bool{}, []string{}
		for _, id := range one.DevicesIds {
			if !p.known[id] {
				return nil, fmt.Errorf("no device %q", id)
			}
			if !seen[uuid(id)] {
				seen[uuid(id)] = true
				list = append(list, uuid(id))
			}
		}
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(list, ",")},
		})
	}
	return response, nil
}

// The greedy choice: the GPU with the fewest slices in use first.
func (p *plugin) GetPreferredAllocation(_ context.Context, request *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	response := &api.PreferredAllocationResponse{}
	for _, one := range request.ContainerRequests {
		used := map[string]int{}
		for gpu, n := range p.total {
			used[gpu] = n
		}
		candidates := append([]string{}, one.AvailableDeviceIDs...)
		for _, id := range candidates {
			used[uuid(id)]--
		}
		picked := append([]string{}, one.MustIncludeDeviceIDs...)
		for len(picked) < int(one.AllocationSize) && len(candidates) > 0 {
			sort.SliceStable(candidates, func(i, j int) bool {
				return used[uuid(candidates[i])] < used[uuid(candidates[j])]
			})
			picked = append(picked, candidates[0])
			used[uuid(candidates[0])]++
			candidates = candidates[1:]
		}
		response.ContainerResponses = append(response.ContainerResponses,
			&api.ContainerPreferredAllocationResponse{DeviceIDs: picked})
	}
	return response, nil
}

func main() {
	p := &plugin{total: map[string]int{}, known: map[string]bool{}}
	for _, id := range os.Args[2:] {
		p.known[id] = true
		p.total[uuid(id)]++
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	fmt.Println("ready")
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

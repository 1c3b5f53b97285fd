// SPDX-License-Identifier: Apache-2.0

// A client of NVIDIA's go-nvlib and go-nvml, as their device plugin, mig-parted and DRA driver are:
//
//	go-nvlib devices     index, UUID, whether it can do MIG and does, of each GPU
//	go-nvlib migs        GPU, index, GPU instance, compute instance, profile, UUID, slices, of each MIG device
//	go-nvlib profiles    each MIG profile of the machine
//	go-nvlib partition   what GPU 0 says while it gets a GPU instance with a compute instance, and loses them
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

func devices(lib device.Interface) error {
	return lib.VisitDevices(func(i int, d device.Device) error {
		uuid, _ := d.GetUUID()
		capable, err := d.IsMigCapable()
		if err != nil {
			return err
		}
		enabled, err := d.IsMigEnabled()
		fmt.Println(i, uuid, capable, enabled)
		return err
	})
}

func migs(lib device.Interface) error {
	return lib.VisitMigDevices(func(i int, d device.Device, j int, m device.MigDevice) error {
		profile, err := m.GetProfile()
		if err != nil {
			return err
		}
		uuid, _ := m.GetUUID()
		gi, _ := m.GetGpuInstanceId()
		ci, _ := m.GetComputeInstanceId()
		attributes, status := m.GetAttributes()
		again, err := lib.NewMigDeviceByUUID(uuid)
		if err != nil {
			return err
		}
		same, _ := again.GetGpuInstanceId()
		fmt.Println(i, j, gi, ci, profile, uuid, attributes.GpuInstanceSliceCount, attributes.ComputeInstanceSliceCount,
			attributes.MemorySizeMB, same == gi, status)
		return nil
	})
}

func profiles(lib device.Interface) error {
	return lib.VisitMigProfiles(func(p device.MigProfile) error {
		fmt.Println(p)
		return nil
	})
}

func partition(lib device.Interface) error {
	all, err := lib.GetDevices()
	if err != nil {
		return err
	}
	gpu := all[0]
	giProfile, status := gpu.GetGpuInstanceProfileInfo(nvml.GPU_INSTANCE_PROFILE_3_SLICE)
	fmt.Println("profile", giProfile.Id, giProfile.InstanceCount, status)
	free, status := gpu.GetGpuInstanceRemainingCapacity(&giProfile)
	fmt.Println("free", free, status)
	places, status := gpu.GetGpuInstancePossiblePlacements(&giProfile)
	fmt.Println("places", places, status)
	gi, status := gpu.CreateGpuInstanceWithPlacement(&giProfile, &nvml.GpuInstancePlacement{Start: 4, Size: 4})
	fmt.Println("create GPU instance", status)
	_, again := gpu.CreateGpuInstanceWithPlacement(&giProfile, &nvml.GpuInstancePlacement{Start: 4, Size: 4})
	fmt.Println("there again", again)
	ciProfile, status := gi.GetComputeInstanceProfileInfo(nvml.COMPUTE_INSTANCE_PROFILE_3_SLICE, nvml.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
	fmt.Println("compute profile", ciProfile.Id, ciProfile.SliceCount, status)
	ci, status := gi.CreateComputeInstance(&ciProfile)
	fmt.Println("create compute instance", status)
	_, again = gi.CreateComputeInstance(&ciProfile)
	fmt.Println("a second one", again)
	info, status := ci.GetInfo()
	fmt.Println("compute info", info.Id, info.ProfileId, info.Placement.Start, info.Placement.Size, status)
	fmt.Println("destroy GPU instance", gi.Destroy())
	fmt.Println("destroy compute instance", ci.Destroy())
	fmt.Println("destroy GPU instance", gi.Destroy())
	_, status = gpu.GetGpuInstanceById(int(info.Id))
	fmt.Println("look for it", status)
	return nil
}

func main() {
	verbs := map[string]func(device.Interface) error{"devices": devices, "migs": migs, "profiles": profiles, "partition": partition}
	verb := verbs[os.Args[1]]
	library := nvml.New()
	if status := library.Init(); status != nvml.SUCCESS {
		log.Fatal(status)
	}
	if err := verb(device.New(library)); err != nil {
		log.Fatal(err)
	}
}

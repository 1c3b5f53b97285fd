// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/samber/lo"

	"github.com/aws/karpenter-provider-aws/pkg/fake"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instancetype"
)

const zone, subnetID, groupID = "test-zone-1a", "subnet-1", "sg-1"

// parameters has each parameter of the Systems Manager that is asked for: an image's ID is made of the parameter's name,
// so that a launch tells for which one the image was taken.
type parameters struct{}

func (parameters) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	id := "ami-" + strings.ReplaceAll(strings.Trim(*in.Name, "/"), "/", ":")
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Name: in.Name, Value: &id}}, nil
}

// cloud is the provider's fake of EC2, with instance types, a subnet and a security group of ours.
type cloud struct {
	*fake.EC2API
	mutex     sync.Mutex
	templates map[string]*types.RequestLaunchTemplateData
	launches  *json.Encoder
}

type launch struct {
	Instances []string `json:"instances"`
	Configs   []config `json:"configs"`
}

type config struct {
	Image    string   `json:"image"`
	UserData string   `json:"userData"` // base64
	Types    []string `json:"types"`
}

// instanceType is a line of the catalog. Network interfaces, and with them how many pods a node may have, come from the
// provider's own table.
type instanceType struct {
	Name      string `json:"name"`
	VCPUs     int32  `json:"vcpus"`
	MemoryMiB int64  `json:"memoryMiB"`
	GPU       string `json:"gpu"`
	GPUs      int32  `json:"gpus"`
}

func (t instanceType) info() types.InstanceTypeInfo {
	limits := instancetype.Limits[t.Name]
	made := types.InstanceTypeInfo{
		InstanceType:          types.InstanceType(t.Name),
		SupportedUsageClasses: fake.DefaultSupportedUsageClasses,
		Hypervisor:            types.InstanceTypeHypervisor(limits.Hypervisor),
		ProcessorInfo:         &types.ProcessorInfo{Manufacturer: lo.ToPtr("Intel"), SupportedArchitectures: []types.ArchitectureType{types.ArchitectureTypeX8664}},
		VCpuInfo:              &types.VCpuInfo{DefaultVCpus: &t.VCPUs},
		MemoryInfo:            &types.MemoryInfo{SizeInMiB: &t.MemoryMiB},
		NetworkInfo: &types.NetworkInfo{
			Ipv4AddressesPerInterface: lo.ToPtr(int32(limits.IPv4PerInterface)), DefaultNetworkCardIndex: lo.ToPtr(int32(limits.DefaultNetworkCardIndex))},
	}
	for _, card := range limits.NetworkCards {
		made.NetworkInfo.NetworkCards = append(made.NetworkInfo.NetworkCards, types.NetworkCardInfo{
			NetworkCardIndex: lo.ToPtr(int32(card.NetworkCardIndex)), MaximumNetworkInterfaces: lo.ToPtr(int32(card.MaximumNetworkInterfaces))})
	}
	if t.GPUs > 0 {
		made.GpuInfo = &types.GpuInfo{Gpus: []types.GpuDeviceInfo{{Name: &t.GPU, Manufacturer: lo.ToPtr("NVIDIA"), Count: &t.GPUs,
			MemoryInfo: &types.GpuDeviceMemoryInfo{}}}}
	}
	return made
}

func newCloud(instanceTypes, launches, cluster string) *cloud {
	c := &cloud{EC2API: fake.NewEC2API(), templates: map[string]*types.RequestLaunchTemplateData{},
		launches: json.NewEncoder(lo.Must(os.OpenFile(launches, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)))}
	var rows []instanceType
	lo.Must0(json.Unmarshal(lo.Must(os.ReadFile(instanceTypes)), &rows))
	infos := lo.Map(rows, func(row instanceType, _ int) types.InstanceTypeInfo { return row.info() })
	c.DescribeInstanceTypesOutput.Set(&ec2.DescribeInstanceTypesOutput{InstanceTypes: infos})
	c.DescribeInstanceTypeOfferingsOutput.Set(&ec2.DescribeInstanceTypeOfferingsOutput{InstanceTypeOfferings: fake.MakeInstanceOfferings(infos)})
	tags := []types.Tag{{Key: lo.ToPtr("karpenter.sh/discovery"), Value: &cluster}}
	c.Subnets.Store(subnetID, types.Subnet{SubnetId: lo.ToPtr(subnetID), AvailabilityZone: lo.ToPtr(zone), AvailabilityZoneId: lo.ToPtr("tstz1-1a"),
		AvailableIpAddressCount: lo.ToPtr(int32(4000)), VpcId: lo.ToPtr("vpc-1"), Tags: tags})
	c.DescribeSecurityGroupsBehavior.Output.Set(&ec2.DescribeSecurityGroupsOutput{SecurityGroups: []types.SecurityGroup{
		{GroupId: lo.ToPtr(groupID), GroupName: lo.ToPtr("nodes"), Tags: tags}}})
	return c
}

func (c *cloud) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	out := &ec2.DescribeImagesOutput{}
	for _, filter := range in.Filters {
		if *filter.Name != "image-id" {
			continue
		}
		for _, id := range filter.Values {
			architecture := lo.Ternary(strings.Contains(id, "arm64"), types.ArchitectureValuesArm64, types.ArchitectureValuesX8664)
			out.Images = append(out.Images, types.Image{ImageId: &id, Name: &id, CreationDate: lo.ToPtr("2026-01-01T00:00:00Z"),
				Architecture: architecture, State: types.ImageStateAvailable})
		}
	}
	return out, nil
}

func (c *cloud) CreateLaunchTemplate(ctx context.Context, in *ec2.CreateLaunchTemplateInput, more ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateOutput, error) {
	c.mutex.Lock()
	c.templates[*in.LaunchTemplateName] = in.LaunchTemplateData
	c.mutex.Unlock()
	return c.EC2API.CreateLaunchTemplate(ctx, in, more...)
}

// complete says what the fake leaves out, and what would make the provider think that the instance has drifted.
func complete(one types.Instance, image string, tags []types.Tag) types.Instance {
	one.ImageId, one.Tags = &image, tags
	one.SubnetId, one.SecurityGroups = lo.ToPtr(subnetID), []types.GroupIdentifier{{GroupId: lo.ToPtr(groupID)}}
	return one
}

func (c *cloud) CreateFleet(ctx context.Context, in *ec2.CreateFleetInput, more ...func(*ec2.Options)) (*ec2.CreateFleetOutput, error) {
	out, err := c.EC2API.CreateFleet(ctx, in, more...)
	if err != nil {
		return out, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	made := launch{}
	for _, one := range in.LaunchTemplateConfigs {
		template := c.templates[*one.LaunchTemplateSpecification.LaunchTemplateName]
		names := lo.Map(one.Overrides, func(each types.FleetLaunchTemplateOverridesRequest, _ int) string { return string(each.InstanceType) })
		made.Configs = append(made.Configs, config{Image: lo.FromPtr(template.ImageId), UserData: lo.FromPtr(template.UserData), Types: lo.Uniq(names)})
	}
	tags, _ := lo.Find(in.TagSpecifications, func(one types.TagSpecification) bool { return one.ResourceType == types.ResourceTypeInstance })
	for _, fleet := range out.Instances {
		made.Instances = append(made.Instances, fleet.InstanceIds...)
		for _, id := range fleet.InstanceIds {
			if found, ok := c.Instances.Load(id); ok {
				c.Instances.Store(id, complete(found.(types.Instance), made.Configs[0].Image, tags.Tags))
			}
		}
	}
	return out, c.launches.Encode(made)
}

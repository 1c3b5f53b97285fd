// SPDX-License-Identifier: Apache-2.0

// Karpenter with AWS's own provider, as its cmd/controller is, but that the AWS below it are the provider's own fakes
// (pkg/fake). What they leave open is in cloud.go. Of every launch that EC2 is asked for there is a line of JSON in
// $LAUNCHES_FILE_PATH.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/patrickmn/go-cache"
	"github.com/samber/lo"

	"sigs.k8s.io/karpenter/pkg/cloudprovider/metrics"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/overlay"
	corecontrollers "sigs.k8s.io/karpenter/pkg/controllers"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	coreoperator "sigs.k8s.io/karpenter/pkg/operator"

	awscache "github.com/aws/karpenter-provider-aws/pkg/cache"
	kubeletcel "github.com/aws/karpenter-provider-aws/pkg/cel"
	"github.com/aws/karpenter-provider-aws/pkg/cloudprovider"
	"github.com/aws/karpenter-provider-aws/pkg/controllers"
	"github.com/aws/karpenter-provider-aws/pkg/fake"
	"github.com/aws/karpenter-provider-aws/pkg/operator"
	"github.com/aws/karpenter-provider-aws/pkg/operator/options"
	"github.com/aws/karpenter-provider-aws/pkg/providers/amifamily"
	"github.com/aws/karpenter-provider-aws/pkg/providers/arczonalshift"
	"github.com/aws/karpenter-provider-aws/pkg/providers/capacityreservation"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instance"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instanceprofile"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instancestatus"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instancetype"
	"github.com/aws/karpenter-provider-aws/pkg/providers/launchtemplate"
	"github.com/aws/karpenter-provider-aws/pkg/providers/placementgroup"
	"github.com/aws/karpenter-provider-aws/pkg/providers/pricing"
	"github.com/aws/karpenter-provider-aws/pkg/providers/securitygroup"
	"github.com/aws/karpenter-provider-aws/pkg/providers/ssm"
	"github.com/aws/karpenter-provider-aws/pkg/providers/subnet"
	"github.com/aws/karpenter-provider-aws/pkg/providers/version"
)

const region = "us-east-1" // the provider has a table of its prices

func newCache() *cache.Cache {
	return cache.New(awscache.DefaultTTL, awscache.DefaultCleanupInterval)
}

// newOperator is the provider's function of this name, with fakes in place of clients.
func newOperator(ctx context.Context, core *coreoperator.Operator, ec2 *cloud) *operator.Operator {
	op := &operator.Operator{
		Operator:                  core,
		Config:                    aws.Config{Region: region},
		UnavailableOfferingsCache: awscache.NewUnavailableOfferings(),
		SSMCache:                  newCache(),
		ValidationCache:           newCache(),
		RecreationCache:           newCache(),
		ZonalShiftProvider:        arczonalshift.NewNoopProvider(),
		CABundle:                  lo.Must(operator.GetCABundle(ctx, core.GetConfig())),
		CELEnvironment:            lo.Must(kubeletcel.NewEnvironment()),
	}
	eks := fake.NewEKSAPI()
	op.SubnetProvider = subnet.NewDefaultProvider(ec2, newCache(), newCache())
	op.SecurityGroupProvider = securitygroup.NewDefaultProvider(ec2, newCache())
	op.InstanceProfileProvider = instanceprofile.NewDefaultProvider(fake.NewIAMAPI(), newCache(), newCache(), newCache(), region)
	op.PricingProvider = pricing.NewDefaultProvider(&fake.PricingAPI{}, ec2, region, true)
	op.VersionProvider = version.NewDefaultProvider(core.KubernetesInterface, eks)
	lo.Must0(op.VersionProvider.UpdateVersion(ctx))
	op.SSMProvider = ssm.NewDefaultProvider(parameters{}, op.SSMCache)
	op.AMIProvider = amifamily.NewDefaultProvider(core.Clock, op.VersionProvider, op.SSMProvider, ec2, newCache())
	op.PlacementGroupProvider = placementgroup.NewProvider(ec2, newCache(), newCache())
	op.AMIResolver = amifamily.NewDefaultResolver(region, func(name string) (amifamily.ENILimits, bool) {
		return op.InstanceTypesProvider.ENILimits(name)
	}, op.CELEnvironment)
	op.LaunchTemplateProvider = launchtemplate.NewDefaultProvider(ctx, newCache(), ec2, eks, op.AMIResolver, op.SecurityGroupProvider,
		op.SubnetProvider, op.PlacementGroupProvider, op.CABundle, core.Elected(), nil, options.FromContext(ctx).ClusterEndpoint)
	op.CapacityReservationProvider = capacityreservation.NewProvider(ec2, core.Clock, newCache(), newCache())
	op.InstanceTypesProvider = instancetype.NewDefaultProvider(newCache(), newCache(), newCache(), ec2, op.SubnetProvider, op.PricingProvider,
		op.CapacityReservationProvider, op.PlacementGroupProvider, op.UnavailableOfferingsCache,
		instancetype.NewDefaultResolver(region, op.CELEnvironment), op.ZonalShiftProvider, core.GetClient(), op.CELEnvironment)
	lo.Must0(op.InstanceTypesProvider.UpdateInstanceTypes(ctx))
	lo.Must0(op.InstanceTypesProvider.UpdateInstanceTypeOfferings(ctx))
	op.InstanceProvider = instance.NewDefaultProvider(ctx, region, core.EventRecorder, ec2, op.UnavailableOfferingsCache, op.SubnetProvider,
		op.LaunchTemplateProvider, op.CapacityReservationProvider, op.PlacementGroupProvider, op.ZonalShiftProvider, newCache())
	op.InstanceStatusProvider = instancestatus.NewDefaultProvider(ec2, core.Clock)
	operator.SetupIndexers(ctx, core.Manager)
	return op
}

func main() {
	ctx, core := coreoperator.NewOperator()
	ec2 := newCloud(os.Getenv("INSTANCE_TYPES_FILE_PATH"), os.Getenv("LAUNCHES_FILE_PATH"), options.FromContext(ctx).ClusterName)
	op := newOperator(ctx, core, ec2)
	undecorated := metrics.Decorate(cloudprovider.New(op.InstanceTypesProvider, op.InstanceProvider, op.EventRecorder, op.GetClient(),
		op.AMIProvider, op.SecurityGroupProvider, op.CapacityReservationProvider, op.PlacementGroupProvider, op.InstanceTypeStore, op.CABundle))
	provider := overlay.Decorate(undecorated, op.GetClient(), op.InstanceTypeStore)
	cluster := state.NewCluster(op.Clock, op.GetClient(), provider)
	op.WithControllers(ctx, corecontrollers.NewControllers(ctx, op.Manager, op.Clock, op.GetClient(), op.EventRecorder, provider,
		undecorated, cluster, op.InstanceTypeStore, op.PredictionStore)...).
		WithControllers(ctx, controllers.NewControllers(ctx, op.Manager, op.Config, op.Clock, ec2, op.GetClient(), op.EventRecorder,
			op.UnavailableOfferingsCache, op.SSMCache, op.ValidationCache, op.RecreationCache, provider, op.SubnetProvider,
			op.SecurityGroupProvider, op.InstanceProfileProvider, op.InstanceProvider, op.PricingProvider, op.AMIProvider,
			op.LaunchTemplateProvider, op.VersionProvider, op.InstanceTypesProvider, op.CapacityReservationProvider,
			op.PlacementGroupProvider, op.AMIResolver, op.ZonalShiftProvider, op.InstanceStatusProvider, op.CABundle,
			op.CELEnvironment)...).
		Start(ctx)
}

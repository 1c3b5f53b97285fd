module gpuslice.dev/tests/mig-parted

go 1.24

require github.com/NVIDIA/mig-parted v0.10.0

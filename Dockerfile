# SPDX-License-Identifier: Apache-2.0
#
# The image for those who build with a container engine and a registry:
#
#     docker build --tag gpuslice/gpuslice:0.1.0 .
#
# What is in it is what `make image` puts into its archive: tools/image lays out both.
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make python3
WORKDIR /source
COPY . .
RUN make build && tools/image --build build --root /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/bin NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=utility LD_LIBRARY_PATH=/usr/local/nvidia/lib64
WORKDIR /
ENTRYPOINT ["/usr/bin/gpuslice-node"]

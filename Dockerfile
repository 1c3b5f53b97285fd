# SPDX-License-Identifier: Apache-2.0
#
# The image for those who build with a container engine and a registry:
#
#     docker build --tag gpuslice/gpuslice:0.1.0 .
#
# What is in it is what `make image` puts into its archive: tools/image lays out both. It tells neither commit nor
# date; an engine's --label adds them.
FROM debian:12-slim AS build
WORKDIR /source
# Before the sources, whose changes then leave this step in the engine's cache.
COPY tools/deps tools/packages tools/
RUN tools/deps build
COPY . .
RUN make build && tools/image --build build --root /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/bin NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=utility LD_LIBRARY_PATH=/usr/local/nvidia/lib64
LABEL org.opencontainers.image.title=gpuslice org.opencontainers.image.version=0.1.0 \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.description="Shares the GPUs of a Kubernetes node in slices."
WORKDIR /
ENTRYPOINT ["/usr/bin/gpuslice-node"]

{{/*
{"ignored": [sentence, ...]}: what the values say and this chart does not do. One row per word of NVIDIA's
chart that has no meaning here; a row counts when its word is written and is not null.
*/}}
{{- define "gpuslice.ignored" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $said := list }}
{{- if $values.legacyDaemonsetAPI }}
{{-   $said = append $said "legacyDaemonsetAPI: Kubernetes removed that API in 1.16; apps/v1 is used." }}
{{- end }}
{{- if and (hasKey $values "enabled") (not $values.enabled) }}
{{-   $said = append $said "enabled: the condition of a parent chart may ask for it, this chart does not; devicePlugin.enabled is the switch." }}
{{- end }}
{{- if include "gpuslice.imageIsNvidias" . }}
{{-   $said = append $said (printf "image (%s%s): it holds NVIDIA's plugin or one like it; %s is used. A copy of that elsewhere goes into image.repository." $values.image.repository (empty $values.image.tag | ternary "" (printf ":%s" (include "gpuslice.text" $values.image.tag))) (include "gpuslice.image" .)) }}
{{- end }}
{{- $gfd := omit $values.gfd "noTimestamp" "sleepInterval" | keys | sortAlpha }}
{{- if $gfd }}
{{-   $said = append $said (printf "gfd.{%s}: the agent labels its node itself; there is no second DaemonSet to shape or to switch." (join ", " $gfd)) }}
{{- end }}
{{- if hasKey $values "nfd" }}
{{-   $said = append $said "nfd: node-feature-discovery is neither needed nor installed; one that runs in the cluster is used." }}
{{- end }}
{{- if index $values "node-feature-discovery" }}
{{-   $said = append $said "node-feature-discovery: it is neither needed nor installed; one that runs in the cluster is used." }}
{{- end }}
{{- $mps := omit $values.mps "root" | keys | sortAlpha }}
{{- if $mps }}
{{-   $said = append $said (printf "mps.{%s}: there is no MPS DaemonSet in this release, and without one of somebody else's no slice shared by MPS is offered." (join ", " $mps)) }}
{{- end }}
{{- if $values.cdi.featureFlags }}
{{-   $said = append $said "cdi.featureFlags: CDI specifications are written without such switches." }}
{{- end }}
{{- if hasKey $values "componentSelectorLabels" }}
{{-   $said = append $said "componentSelectorLabels: there is one DaemonSet, whose selector meets no other." }}
{{- end }}
{{- if hasKey $values "configManager" }}
{{-   $said = append $said "configManager: the agent chooses its configuration itself; there is no sidecar." }}
{{- end }}
{{- if hasKey $values "logVerbosity" }}
{{-   $said = append $said "logVerbosity: write logLevel: debug, info, warning or error." }}
{{- end }}
{{- if eq (toString $values.deviceDiscoveryStrategy) "tegra" }}
{{-   $said = append $said "deviceDiscoveryStrategy tegra: the agent takes it and warns; Tegra's GPUs are not sliced in this release. Write auto or nvml." }}
{{- end }}
{{- if eq (toString $values.deviceDiscoveryStrategy) "vfio" }}
{{-   $said = append $said "deviceDiscoveryStrategy vfio: the agent takes it and warns; GPUs that are passed through to virtual machines are not offered, and nodes that have no others are left alone. Write auto or nvml." }}
{{- end }}
{{- if and (hasKey $values.devicePlugin "containers") (omit $values.devicePlugin.containers "main") }}
{{-   $said = append $said (printf "devicePlugin.containers.{%s}: main stands for the agent's container, and there is no other of these." (omit $values.devicePlugin.containers "main" | keys | sortAlpha | join ", ")) }}
{{- end }}
{{- dict "ignored" $said | mustToJson }}
{{- end }}

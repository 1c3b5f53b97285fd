{{/*
What people write that no chart of this kind reads, with what to write in its place: the schema lets these words pass, so
that the refusal can say more than that they are unknown.
*/}}

{{/* {"NVIDIA's flag": "the value that stands for it"} */}}
{{- define "gpuslice.valueOfFlag" -}}
{{- dict
      "mig-strategy" "migStrategy"
      "fail-on-init-error" "failOnInitError"
      "pass-device-specs" "compatWithCPUManager"
      "device-list-strategy" "deviceListStrategy"
      "device-id-strategy" "deviceIDStrategy"
      "device-discovery-strategy" "deviceDiscoveryStrategy"
      "nvidia-driver-root" "nvidiaDriverRoot"
      "driver-root" "nvidiaDriverRoot"
      "nvidia-dev-root" "nvidiaDevRoot"
      "dev-root" "nvidiaDevRoot"
      "gdrcopy-enabled" "gdrcopyEnabled"
      "gds-enabled" "gdsEnabled"
      "mofed-enabled" "mofedEnabled"
      "nvidia-cdi-hook-path" "cdi.nvidiaHookPath"
      "nvidia-ctk-path" "cdi.nvidiaHookPath"
      "mps-root" "mps.root"
      "no-timestamp" "gfd.noTimestamp"
      "sleep-interval" "gfd.sleepInterval"
      "log-level" "logLevel"
      "log-format" "logFormat"
      "http-address" "httpAddress"
      "config-file" "config.name, or config.map" | toJson }}
{{- end }}

{{/* The lines that replace `args`: a value for each flag that has one, extraArgs for the rest. */}}
{{- define "gpuslice.insteadOfArgs" -}}
{{- $values := include "gpuslice.valueOfFlag" . | fromJson }}
{{- $words := kindIs "slice" .args | ternary .args (splitList " " (toString .args)) }}
{{- $rest := list }}
{{- $open := "" }}
{{- range $word := $words }}
{{-   $word = toString $word }}
{{-   $name := regexReplaceAll "^--?([^=]*).*$" $word "${1}" }}
{{-   if and $open (not (hasPrefix "-" $word)) }} {{ $word }}
{{-     $open = "" }}
{{-   else }}
{{-     if $open }} true{{ end }}
{{-     $open = "" }}
{{-     if and (hasPrefix "-" $word) (hasKey $values $name) }}
{{-       printf "\n  %s:" (get $values $name) }}
{{-       if contains "=" $word }}{{ printf " %s" (regexReplaceAll "^[^=]*=" $word "") }}{{ else }}{{ $open = $name }}{{ end }}
{{-     else if $word }}
{{-       $rest = append $rest $word }}
{{-     end }}
{{-   end }}
{{- end }}
{{- if $open }} true{{ end }}
{{- if $rest }}{{ printf "\n  extraArgs: %s" (toJson $rest) }}{{ end }}
{{- end }}

{{/* {"word": "what to write"}; %v is what stands below the word. */}}
{{- define "gpuslice.instead" -}}
{{- $configuration := "it belongs to a configuration: write it below config.map.NAME, or into the ConfigMap that config.name names" }}
{{- $operators := "it is a value of NVIDIA's GPU Operator; doc/guide/gpu-operator.md says how both run beside each other" }}
{{- $all := dict
      "annotations" "write podAnnotations"
      "command" "the image's program is started as it is; flags go into extraArgs"
      "configMap" "write config.name for a ConfigMap that is there already, or config.map for one that the chart makes"
      "configMapName" "write config.name"
      "containers" "the agent's variables go into extraEnv, its mounts into extraVolumeMounts"
      "env" "write extraEnv"
      "hostPID" "leave it out: no process of ours needs the host's process ids"
      "labels" "write podLabels"
      "priorityClass" "write priorityClassName"
      "runtimeClass" "write runtimeClassName"
      "serviceAccount" "leave it out: the chart makes one, with the few rights in doc/privileges.md"
      "serviceMonitor" "write podMonitor.enabled: true; there is no Service in front of the agents"
      "volumeMounts" "write extraVolumeMounts"
      "volumes" "write extraVolumes" }}
{{- range list "flags" "gpuslice" "sharing" "timeSlicing" "version" }}{{ $_ := set $all . $configuration }}{{ end }}
{{- range list "ccManager" "daemonsets" "dcgm" "dcgmExporter" "driver" "gdrcopy" "migManager" "nodeStatusExporter" "operator" "sandboxDevicePlugin" "sandboxWorkloads" "toolkit" "validator" "vfioManager" "vgpuDeviceManager" "vgpuManager" }}
{{-   $_ := set $all . $operators }}
{{- end }}
{{- $all | toJson }}
{{- end }}

{{- define "gpuslice.refuseForeign" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $said := list }}
{{- range $word, $way := include "gpuslice.instead" . | fromJson }}
{{-   if get $values $word }}{{ $said = append $said (printf "%s: %s." $word $way) }}{{ end }}
{{- end }}
{{- if $values.args }}
{{-   $said = append $said (printf "args: neither this chart nor NVIDIA's has such a value. Write:%s" (include "gpuslice.insteadOfArgs" (dict "args" $values.args))) }}
{{- end }}
{{- if $said }}{{ fail (printf "\n%s" (join "\n" $said)) }}{{ end }}
{{- end }}

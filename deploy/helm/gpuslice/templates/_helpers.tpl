{{/*
The values as the templates use them, as JSON. What counts as not written gives way to the chart's own
defaults: a null, and an empty value of another kind ("" for a map). What is meant all the same is taken:
a switch as text ("true"), a name as a number.
*/}}
{{- define "gpuslice.values" -}}
{{- $standard := dict
      "config" (dict "name" "" "map" dict "default" "" "fallbackStrategies" (list "named" "single"))
      "cdi" dict "mps" dict "gfd" dict
      "mig" (dict "partition" false "configMap" "" "pauseClients" false "reboot" false)
      "image" (dict "repository" "gpuslice/gpuslice" "tag" "" "pullPolicy" "IfNotPresent")
      "imagePullSecrets" list
      "nvidiaDriverCapabilities" "utility"
      "httpAddress" ":19400" "readinessPath" "/healthz"
      "extraArgs" list "extraEnv" list "extraVolumes" list "extraVolumeMounts" list
      "devicePlugin" (dict "enabled" true)
      "updateStrategy" (dict "type" "RollingUpdate" "rollingUpdate" (dict "maxUnavailable" "10%"))
      "selectorLabelsOverride" dict "podAnnotations" dict "podLabels" dict "podSecurityContext" dict "securityContext" dict
      "resources" dict
      "http" (dict "resources" dict)
      "nodesync" (dict "enabled" true "resources" dict)
      "controller" (dict "enabled" false "replicas" 2 "drainForMIG" "denied" "nodeLimitSeconds" 300 "replaceAtMost" 1 "profiles" false "resources" dict "nodeSelector" dict "affinity" dict
        "tolerations" (list (dict "key" "CriticalAddonsOnly" "operator" "Exists")))
      "arbiter" (dict "kernelLimits" false "onViolation" "report" "graceSeconds" 30 "spareNamespaces" (list "kube-system") "resources" dict)
      "nodeSelector" dict "affinity" dict
      "tolerations" (list (dict "key" "CriticalAddonsOnly" "operator" "Exists"))
      "priorityClassName" "system-node-critical"
      "kubeletDir" "/var/lib/kubelet"
      "admissionPolicy" (dict "enabled" true)
      "sliceProfiles" (dict "enabled" false)
      "podMonitor" (dict "enabled" false "labels" dict "interval" "30s")
      "openshift" dict
      "prometheusRule" (dict "enabled" false "labels" dict "runbook" "")
      "uninstall" (dict "enabled" true) }}
{{- $written := include "gpuslice.withoutNulls" (.Values | toJson | fromJson) | fromJson }}
{{- $config := default dict $written.config }}
{{- if hasKey $config "default" }}
{{-   $_ := set $config "default" (include "gpuslice.text" $config.default) }}
{{- end }}
{{- if kindIs "string" $config.fallbackStrategies }}
{{-   $_ := set $config "fallbackStrategies" ($config.fallbackStrategies | nospace | splitList "," | compact) }}
{{- end }}
{{- include "gpuslice.readSwitches" $written }}
{{- include "gpuslice.dropOddEmpties" (dict "standard" $standard "written" $written) }}
{{- $values := mergeOverwrite $standard $written }}
{{- /* Limits come with slices, which come from the agent. */}}
{{- $slices := $values.devicePlugin.enabled }}
{{- $arbiter := dict "enabled" $slices "mode" (ternary "limits" "audit" $slices) }}
{{- mustToJson (set $values "arbiter" (mergeOverwrite $arbiter $values.arbiter)) }}
{{- end }}

{{/* Each switch that the templates ask, written as text: the switch that it names. */}}
{{- define "gpuslice.readSwitches" -}}
{{- $switches := list "allowDefaultNamespace" "compatWithCPUManager" "enableHostNetwork" "enabled" "hostNetwork" "kernelLimits" "legacyDaemonsetAPI" "partition" "pauseClients" "profiles" "reboot" "scc" "sysAdmin" }}
{{- range $part := list . .admissionPolicy .arbiter .controller .devicePlugin .gfd .mig .nodesync .openshift .podMonitor .prometheusRule .uninstall }}
{{-   range $switch := $switches }}
{{-     $text := get (default dict $part) $switch }}
{{-     if has $text (list "true" "false") }}{{ $_ := set $part $switch (eq $text "true") }}{{ end }}
{{-   end }}
{{- end }}
{{- end }}

{{- define "gpuslice.dropOddEmpties" -}}
{{- range $word, $value := .standard }}
{{-   $written := get $.written $word }}
{{-   if kindIs (kindOf $value) $written }}
{{-     if kindIs "map" $value }}{{ include "gpuslice.dropOddEmpties" (dict "standard" $value "written" $written) }}{{ end }}
{{-   else if and (empty $written) (has (kindOf $written) (list "string" "slice" "map")) }}
{{-     $_ := unset $.written $word }}
{{-   end }}
{{- end }}
{{- end }}

{{/* A scalar as text; a number came as JSON's and has no exponent. */}}
{{- define "gpuslice.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "gpuslice.withoutNulls" -}}
{{- $kept := dict }}
{{- range $key, $value := . }}
{{-   if kindIs "map" $value }}
{{-     $_ := set $kept $key (include "gpuslice.withoutNulls" $value | fromJson) }}
{{-   else if kindIs "slice" $value }}
{{-     $_ := set $kept $key (without $value nil) }}
{{-   else if not (kindIs "invalid" $value) }}
{{-     $_ := set $kept $key $value }}
{{-   end }}
{{- end }}
{{- $kept | mustToJson }}
{{- end }}

{{/* --- names and labels; toYaml puts quotes where YAML would take a name for a number --- */}}

{{- define "gpuslice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gpuslice.fullname" -}}
{{- $name := include "gpuslice.name" . }}
{{- if .Values.fullnameOverride }}
{{-   .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{-   .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{-   printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gpuslice.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/*
A DaemonSet's selector never changes. One that bears our name already keeps its own: NVIDIA's, where
fullnameOverride gives both charts one name. (Without a cluster, lookup finds nothing.)
*/}}
{{- define "gpuslice.selectorLabels" -}}
{{- $there := lookup "apps/v1" "DaemonSet" (include "gpuslice.namespace" .) (include "gpuslice.fullname" .) }}
{{- $standard := dict "app.kubernetes.io/name" (include "gpuslice.name" .) "app.kubernetes.io/instance" .Release.Name }}
{{- $asked := (include "gpuslice.values" . | fromJson).selectorLabelsOverride }}
{{- toYaml (default (dig "spec" "selector" "matchLabels" $standard $there) $asked) }}
{{- end }}

{{- define "gpuslice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "gpuslice.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What is cluster-wide carries the namespace, so that two installations do not meet. */}}
{{- define "gpuslice.clusterName" -}}
{{- $namespace := include "gpuslice.namespace" . }}
{{- if eq $namespace "kube-system" }}
{{-   include "gpuslice.fullname" . }}
{{- else }}
{{-   printf "%s-%s" $namespace (include "gpuslice.fullname" .) }}
{{- end }}
{{- end }}

{{- define "gpuslice.configMapName" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- if $values.config.name }}
{{-   $values.config.name }}
{{- else if $values.config.map }}
{{-   printf "%s-configs" (include "gpuslice.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{/*
The image. A values file for NVIDIA's chart names NVIDIA's, a mirror of it or a plugin like it, none of
which holds gpuslice; a tag alone that has the form of theirs (v0.17.1) belongs to that image too.
*/}}
{{- define "gpuslice.imageIsNvidias" -}}
{{- $image := (include "gpuslice.values" . | fromJson).image }}
{{- if and (regexMatch "(device-plugin|gpu-feature-discovery)[^/]*$" $image.repository) (not (regexMatch "gpuslice[^/]*$" $image.repository)) }}true
{{- else if and (eq $image.repository "gpuslice/gpuslice") (regexMatch "^v[0-9]+\\.[0-9]+\\.[0-9]+" (include "gpuslice.text" $image.tag)) }}true
{{- end }}
{{- end }}

{{- define "gpuslice.image" -}}
{{- $image := (include "gpuslice.values" . | fromJson).image }}
{{- if include "gpuslice.imageIsNvidias" . }}
{{-   printf "gpuslice/gpuslice:%s" .Chart.AppVersion }}
{{- else if regexMatch "[@:][^/]+$" $image.repository }}
{{-   $image.repository }}
{{- else }}
{{-   printf "%s:%s" $image.repository (default .Chart.AppVersion (include "gpuslice.text" $image.tag)) }}
{{- end }}
{{- end }}

{{/*
The agent does the work of NVIDIA's two DaemonSets. It runs unless both are switched off; the switch of
the device plugin alone leaves it the labels.
*/}}
{{- define "gpuslice.runsAgent" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- if or $values.devicePlugin.enabled $values.gfd.enabled }}true{{ end }}
{{- end }}

{{/* From 1.30 on, the API is there and a pod's token names its node. */}}
{{- define "gpuslice.hasAdmissionPolicy" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- if and $values.admissionPolicy.enabled $values.nodesync.enabled (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}true{{ end }}
{{- end }}

{{/* OpenShift's API alone lets a pod mount a folder of the host only with constraints that say so. */}}
{{- define "gpuslice.needsScc" -}}
{{- $asked := (include "gpuslice.values" . | fromJson).openshift.scc }}
{{- if kindIs "bool" $asked | ternary $asked (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}true{{ end }}
{{- end }}

{{/*
Of the agent's pod and of the arbiter's. On OpenShift SELinux is on, and a container's usual type may not touch the kubelet's folders and sockets; nor
may it connect to a process of another type than spc_t, as containers do for their limits.
*/}}
{{- define "gpuslice.podSecurityContext" -}}
{{- $written := (include "gpuslice.values" . | fromJson).podSecurityContext }}
{{- if include "gpuslice.needsScc" . }}
{{-   $written = mergeOverwrite (dict "seLinuxOptions" (dict "type" "spc_t")) $written }}
{{- end }}
{{- if $written }}{{ toYaml $written }}{{ end }}
{{- end }}

{{/* --- which features are asked for: what decides the privileges --- */}}

{{/* deviceListStrategy as text joined by commas; "" when it is left to the configuration. */}}
{{- define "gpuslice.deviceListStrategy" -}}
{{- $strategy := (include "gpuslice.values" . | fromJson).deviceListStrategy }}
{{- if kindIs "slice" $strategy }}{{ join "," $strategy }}{{ else if $strategy }}{{ nospace $strategy }}{{ end }}
{{- end }}

{{/* The flags of each configuration in config.map, as JSON {"flags": [...]}; a broken one is the agent's to name. */}}
{{- define "gpuslice.mapFlags" -}}
{{- $flags := list }}
{{- range $name, $text := (include "gpuslice.values" . | fromJson).config.map }}
{{-   $config := kindIs "map" $text | ternary $text (fromYaml (toString $text)) }}
{{-   if kindIs "map" $config.flags }}{{ $flags = append $flags $config.flags }}{{ end }}
{{- end }}
{{- dict "flags" $flags | mustToJson }}
{{- end }}

{{/*
{"names": [...], "roots": [...]}: the configurations in config.map that share by MPS (also gpuslice.slices that are cooperative), and the host's folders where a
control daemon of somebody else's may be asked for. mps.root outranks what configurations say.
*/}}
{{- define "gpuslice.mps" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $names := list }}
{{- $roots := list }}
{{- range $name, $text := $values.config.map }}
{{-   $config := kindIs "map" $text | ternary $text (fromYaml (toString $text)) }}
{{-   $sharing := kindIs "map" $config.sharing | ternary $config.sharing dict }}
{{-   $own := kindIs "map" $config.gpuslice | ternary $config.gpuslice dict }}
{{-   if or (kindIs "map" $sharing.mps) (and $own.slices (eq (toString $own.isolation) "cooperative")) }}
{{-     $names = append $names $name }}
{{-     $flags := kindIs "map" $config.flags | ternary $config.flags dict }}
{{-     $roots = append $roots (default "/run/nvidia/mps" $flags.mpsRoot | toString | trimSuffix "/") }}
{{-   end }}
{{- end }}
{{- if $values.mps.root }}{{ $roots = list (toString $values.mps.root | trimSuffix "/") }}{{ end }}
{{- dict "names" $names "roots" (uniq $roots) | mustToJson }}
{{- end }}

{{/* The strategies that nodes may use, joined by commas, as far as the chart can see. */}}
{{- define "gpuslice.possibleStrategies" -}}
{{- $own := include "gpuslice.deviceListStrategy" . }}
{{- $all := list $own }}
{{- if not $own }}
{{-   range (include "gpuslice.mapFlags" . | fromJson).flags }}
{{-     $strategy := dig "plugin" "deviceListStrategy" "" . }}
{{-     $all = append $all (kindIs "slice" $strategy | ternary (join "," $strategy) (toString $strategy)) }}
{{-   end }}
{{- end }}
{{- join "," $all }}
{{- end }}

{{- define "gpuslice.usesCdi" -}}
{{- if contains "cdi-" (include "gpuslice.possibleStrategies" .) }}true{{ end }}
{{- end }}

{{/* A ConfigMap that the chart cannot look into may choose CDI. */}}
{{- define "gpuslice.mayUseCdi" -}}
{{- $hidden := and (include "gpuslice.values" . | fromJson).config.name (not (include "gpuslice.deviceListStrategy" .)) }}
{{- if or $hidden (include "gpuslice.usesCdi" .) }}true{{ end }}
{{- end }}

{{- define "gpuslice.usesMig" -}}
{{- $found := false }}
{{- if .Values.migStrategy }}
{{-   $found = ne .Values.migStrategy "none" }}
{{- else }}
{{-   range (include "gpuslice.mapFlags" . | fromJson).flags }}
{{-     if has (toString .migStrategy) (list "single" "mixed") }}{{ $found = true }}{{ end }}
{{-   end }}
{{- end }}
{{- if $found }}true{{ end }}
{{- end }}

{{- define "gpuslice.needsSysAdmin" -}}
{{- $written := (include "gpuslice.values" . | fromJson).sysAdmin }}
{{- if (include "gpuslice.values" . | fromJson).mig.partition }}true
{{- else if kindIs "bool" $written }}
{{-   if $written }}true{{ end }}
{{- else if or (include "gpuslice.usesMig" .) (contains "volume-mounts" (include "gpuslice.possibleStrategies" .)) }}true
{{- end }}
{{- end }}

{{/* See doc/privileges.md; the tests hold both together. */}}
{{- define "gpuslice.securityContext" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- if $values.securityContext }}
{{- toYaml $values.securityContext }}
{{- else if $values.compatWithCPUManager -}}
privileged: true
readOnlyRootFilesystem: true
{{- else -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- if include "gpuslice.needsSysAdmin" . }}
  add: [SYS_ADMIN{{ if $values.mig.reboot }}, SYS_BOOT{{ end }}]
{{- end }}
privileged: false
readOnlyRootFilesystem: true
runAsUser: 0
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- end }}

{{/* Of what needs nothing of the host: user and group `nobody` of the image, as src/proc/role.h has them. */}}
{{- define "gpuslice.nobody" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsGroup: 65534
runAsNonRoot: true
runAsUser: 65534
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What is written stands alone: limits below requests of ours would be refused. */}}
{{- define "gpuslice.resources" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $standard := dict "requests" (dict "cpu" "10m" "memory" "64Mi") }}
{{- toYaml (default (default $standard $values.resources) $values.devicePlugin.resources) }}
{{- end }}

{{- define "gpuslice.httpResources" -}}
{{- toYaml (default (dict "requests" (dict "cpu" "1m" "memory" "8Mi")) (include "gpuslice.values" . | fromJson).http.resources) }}
{{- end }}

{{- define "gpuslice.nodesyncResources" -}}
{{- toYaml (default (dict "requests" (dict "cpu" "5m" "memory" "24Mi")) (include "gpuslice.values" . | fromJson).nodesync.resources) }}
{{- end }}

{{/* --- the agent's environment --- */}}

{{/* {"env": [...]}: a later entry of one name replaces the earlier, since a name may be there only once. */}}
{{- define "gpuslice.env" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $env := list }}
{{- /* What the agent tells nodesync; without a Node's name it waits for none. */}}
{{- if $values.nodesync.enabled }}
{{- /* "-": a controller that opens no nodes holds its Lease all the same. */}}
{{-   $lease := ternary "-" (include "gpuslice.controllerName" .) (and $values.controller.enabled (not $values.controller.profiles)) }}
{{-   $env = list
        (dict "name" "NODE_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "spec.nodeName")))
        (dict "name" "NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
        (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
        (dict "name" "GPUSLICE_CONTROLLER_LEASE" "value" $lease) }}
{{- end }}
{{- $env = concat $env (list
      (dict "name" "NVIDIA_VISIBLE_DEVICES" "value" "all")
      (dict "name" "NVIDIA_DRIVER_CAPABILITIES" "value" $values.nvidiaDriverCapabilities)) }}
{{- if include "gpuslice.needsSysAdmin" . }}
{{-   $env = append $env (dict "name" "NVIDIA_MIG_MONITOR_DEVICES" "value" "all") }}
{{- end }}
{{- if $values.mig.partition }}
{{-   $env = concat $env (list
        (dict "name" "NVIDIA_MIG_CONFIG_DEVICES" "value" "all")
        (dict "name" "GPUSLICE_MIG_PARTITION" "value" "true")) }}
{{-   if $values.mig.configMap }}{{ $env = append $env (dict "name" "GPUSLICE_MIG_CONFIG_FILE" "value" "/mig-layouts/config.yaml") }}{{ end }}
{{-   if $values.mig.pauseClients }}{{ $env = append $env (dict "name" "GPUSLICE_MIG_PAUSE_CLIENTS" "value" "true") }}{{ end }}
{{-   if $values.mig.reboot }}{{ $env = append $env (dict "name" "GPUSLICE_MIG_REBOOT" "value" "true") }}{{ end }}
{{- end }}
{{- with include "gpuslice.memory" . }}
{{-   $env = concat $env (list
        (dict "name" "GPUSLICE_ARBITER_DIR" "value" "/run/gpuslice/arbiter")
        (dict "name" "GPUSLICE_DEFAULT_MEMORY" "value" .)) }}
{{-   with $values.arbiter.compute }}{{ $env = append $env (dict "name" "GPUSLICE_DEFAULT_COMPUTE" "value" .) }}{{ end }}
{{- end }}
{{- if include "gpuslice.configMapName" . }}
{{-   $env = append $env (dict "name" "CONFIG_FILE_SRCDIR" "value" "/available-configs") }}
{{-   with $values.config.default }}{{ $env = append $env (dict "name" "DEFAULT_CONFIG" "value" .) }}{{ end }}
{{-   with $values.config.fallbackStrategies }}{{ $env = append $env (dict "name" "FALLBACK_STRATEGIES" "value" (join "," .)) }}{{ end }}
{{- end }}
{{- /* NVIDIA's templates read both at the top since 0.15, and its values.yaml has them below gfd. */}}
{{- $gfd := mergeOverwrite (pick $values "noTimestamp" "sleepInterval") $values.gfd }}
{{- $pause := include "gpuslice.text" (default "" $gfd.sleepInterval) }}
{{- if regexMatch "^[0-9]+$" $pause }}{{ $pause = printf "%ss" $pause }}{{ end }}
{{- range $pair := list
      (list "MIG_STRATEGY" $values.migStrategy)
      (list "FAIL_ON_INIT_ERROR" $values.failOnInitError)
      (list "PASS_DEVICE_SPECS" $values.compatWithCPUManager)
      (list "DEVICE_LIST_STRATEGY" (include "gpuslice.deviceListStrategy" .))
      (list "DEVICE_ID_STRATEGY" $values.deviceIDStrategy)
      (list "DEVICE_DISCOVERY_STRATEGY" $values.deviceDiscoveryStrategy)
      (list "NVIDIA_DRIVER_ROOT" $values.nvidiaDriverRoot)
      (list "NVIDIA_DEV_ROOT" $values.nvidiaDevRoot)
      (list "GDRCOPY_ENABLED" $values.gdrcopyEnabled)
      (list "GDS_ENABLED" $values.gdsEnabled)
      (list "MOFED_ENABLED" $values.mofedEnabled)
      (list "NVIDIA_CDI_HOOK_PATH" $values.cdi.nvidiaHookPath)
      (list "MPS_ROOT" $values.mps.root)
      (list "GFD_NO_TIMESTAMP" $gfd.noTimestamp)
      (list "GFD_SLEEP_INTERVAL" $pause)
      (list "GPUSLICE_LOG_LEVEL" $values.logLevel)
      (list "GPUSLICE_LOG_FORMAT" $values.logFormat) }}
{{-   $value := index $pair 1 }}
{{-   if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{-     $env = append $env (dict "name" (index $pair 0) "value" (include "gpuslice.text" $value)) }}
{{-   end }}
{{- end }}
{{- $env = append $env (dict "name" "GPUSLICE_CHANNEL_DIR" "value" (include "gpuslice.channelDir" .)) }}
{{- if not $values.devicePlugin.enabled }}
{{-   $env = append $env (dict "name" "KUBELET_SOCKET" "value" "") }}
{{- end }}
{{- $nvidias := dig "containers" "main" "env" list $values.devicePlugin }}
{{- $env = concat $env $nvidias $values.extraEnv }}
{{- $names := list }}
{{- $byName := dict }}
{{- range $env }}
{{-   $names = append $names .name | uniq }}
{{-   $_ := set $byName .name . }}
{{- end }}
{{- $kept := list }}
{{- range $names }}{{ $kept = append $kept (get $byName .) }}{{ end }}
{{- dict "env" $kept | mustToJson }}
{{- end }}

{{/* --- the containers beside the agent's --- */}}

{{- define "gpuslice.channelDir" -}}/run/gpuslice-channel{{- end }}

{{/* The port of httpAddress, "" when nothing is served. */}}
{{- define "gpuslice.port" -}}
{{- regexFind "[0-9]+$" ((include "gpuslice.values" . | fromJson).httpAddress | toString) }}
{{- end }}

{{/* The image asks NVIDIA's runtime for every GPU; these containers use none. */}}
{{- define "gpuslice.noGpus" -}}
{{- dict "name" "NVIDIA_VISIBLE_DEVICES" "value" "void" | toJson }}
{{- end }}

{{/* How the agent logs, as its environment says. */}}
{{- define "gpuslice.log" -}}
{{- $log := dict "GPUSLICE_LOG_LEVEL" "info" "GPUSLICE_LOG_FORMAT" "logfmt" }}
{{- range (include "gpuslice.env" . | fromJson).env }}
{{-   if and (hasKey $log .name) .value }}{{ $_ := set $log .name .value }}{{ end }}
{{- end }}
{{- $log | toJson }}
{{- end }}

{{/* The last words of gpuslice-http's command, when they are not its defaults. */}}
{{- define "gpuslice.httpLog" -}}
{{- $log := include "gpuslice.log" . | fromJson }}
{{- if ne (printf "%s %s" $log.GPUSLICE_LOG_LEVEL $log.GPUSLICE_LOG_FORMAT) "info logfmt" }}
{{- printf ", %s, %s" (quote $log.GPUSLICE_LOG_LEVEL) (quote $log.GPUSLICE_LOG_FORMAT) }}
{{- end }}
{{- end }}

{{/* {"command": [...]}: it logs as the agent does. */}}
{{- define "gpuslice.nodesyncCommand" -}}
{{- $log := include "gpuslice.log" . | fromJson }}
{{- dict "command" (list "/usr/bin/gpuslice-nodesync" (printf "--connect=%s/nodesync/agent.sock" (include "gpuslice.channelDir" .))
      $log.GPUSLICE_LOG_LEVEL $log.GPUSLICE_LOG_FORMAT) | mustToJson }}
{{- end }}

{{/* {"env": [...]}: of the agent's, how the API server is reached. */}}
{{- define "gpuslice.nodesyncEnv" -}}
{{- $env := list (include "gpuslice.noGpus" . | fromJson) }}
{{- range (include "gpuslice.env" . | fromJson).env }}
{{-   if regexMatch "(?i)^(kubernetes_service_(host|port)|(https?|all|no)_proxy)$" .name }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- dict "env" $env | mustToJson }}
{{- end }}

{{/* The volume with the token: in an item of a list. */}}
{{- define "gpuslice.apiAccess" -}}
# What Kubernetes would mount into every container.
- name: api-access
  projected:
    defaultMode: 0444
    sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3607
    - configMap:
        name: kube-root-ca.crt
        items:
        - key: ca.crt
          path: ca.crt
    - downwardAPI:
        items:
        - path: namespace
          fieldRef:
            fieldPath: metadata.namespace
{{- end }}

{{/* --- the controller: names and labels of its own, so that no selector of the agents' finds it --- */}}

{{- define "gpuslice.controllerName" -}}
{{- printf "%s-controller" (include "gpuslice.fullname" . | trunc 52 | trimSuffix "-") }}
{{- end }}

{{- define "gpuslice.controllerClusterName" -}}
{{- printf "%s-controller" (include "gpuslice.clusterName" .) }}
{{- end }}

{{- define "gpuslice.controllerLabels" -}}
app.kubernetes.io/name: {{ printf "%s-controller" (include "gpuslice.name" . | trunc 52 | trimSuffix "-") | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{/* --- the arbiter, and the pod that serves its metrics --- */}}

{{- define "gpuslice.arbiterName" -}}
{{- printf "%s-arbiter" (include "gpuslice.fullname" . | trunc 50 | trimSuffix "-") }}
{{- end }}

{{- define "gpuslice.arbiterLabels" -}}
app.kubernetes.io/name: {{ printf "%s-arbiter" (include "gpuslice.name" . | trunc 50 | trimSuffix "-") | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{- define "gpuslice.arbiterHttpLabels" -}}
app.kubernetes.io/name: {{ printf "%s-arbiter-http" (include "gpuslice.name" . | trunc 50 | trimSuffix "-") | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{/*
{"mode": what gpuslice.memory is where a configuration has none, "why": WORD}, or {} without limits. In this order:
  written     a value says it
  remembered  the installation had it, by the annotation of the arbiter's service account
  upgrade     it had no limits, or is a release of NVIDIA's chart: observe
  rendered    there is no cluster to ask (helm template, Argo CD), so it may be an upgrade: observe
  plugin      NVIDIA's plugin, named by "plugin", gives slices without limits: observe
  new         enforced
*/}}
{{- define "gpuslice.memoryChoice" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $choice := dict }}
{{- if and $values.arbiter.enabled (eq $values.arbiter.mode "limits") }}
{{-   $account := lookup "v1" "ServiceAccount" (include "gpuslice.namespace" .) (include "gpuslice.arbiterName" .) | default dict }}
{{-   $before := dig "metadata" "annotations" "gpuslice.dev/memory" "" $account }}
{{-   if $values.arbiter.memory }}
{{-     $choice = dict "mode" $values.arbiter.memory "why" "written" }}
{{-   else if $before }}
{{-     $choice = dict "mode" $before "why" "remembered" }}
{{-   else if .Release.IsUpgrade }}
{{-     $choice = dict "mode" "observe" "why" "upgrade" }}
{{-   else if not (lookup "v1" "Namespace" "" "kube-system") }}
{{-     $choice = dict "mode" "observe" "why" "rendered" }}
{{-   else }}
{{-     $choice = dict "mode" "enforced" "why" "new" }}
{{-     with include "gpuslice.foreignPlugin" . }}{{ $choice = dict "mode" "observe" "why" "plugin" "plugin" . }}{{ end }}
{{-   end }}
{{- end }}
{{- $choice | toJson }}
{{- end }}

{{- define "gpuslice.memory" -}}
{{- get (include "gpuslice.memoryChoice" . | fromJson) "mode" }}
{{- end }}

{{/* NAMESPACE/NAME of a DaemonSet that runs NVIDIA's device plugin, by its name or its image's. */}}
{{- define "gpuslice.foreignPlugin" -}}
{{- $found := list }}
{{- range $one := (lookup "apps/v1" "DaemonSet" "" "" | default dict).items }}
{{-   range (dig "spec" "template" "spec" "containers" list $one) }}
{{-     if regexMatch "nvidia[a-z-]*device-plugin|/k8s-device-plugin" (printf "%s %s" $one.metadata.name .image) }}
{{-       $found = append $found (printf "%s/%s" $one.metadata.namespace $one.metadata.name) }}
{{-     end }}
{{-   end }}
{{- end }}
{{- first (append $found "") }}
{{- end }}

{{/* {"env": [...]}: of the agent's, what brings the GPUs, and what the values add. */}}
{{- define "gpuslice.arbiterEnv" -}}
{{- $names := list "NVIDIA_VISIBLE_DEVICES" "NVIDIA_DRIVER_CAPABILITIES" "NVIDIA_MIG_MONITOR_DEVICES" }}
{{- range (include "gpuslice.values" . | fromJson).extraEnv }}{{ $names = append $names .name }}{{ end }}
{{- $env := list }}
{{- range (include "gpuslice.env" . | fromJson).env }}
{{-   if has .name $names }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- dict "env" $env | mustToJson }}
{{- end }}

{{/* Where both run: as the agents. */}}
{{- define "gpuslice.arbiterPlace" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- with $values.priorityClassName -}}
priorityClassName: {{ toYaml . }}
{{ end }}
{{- with $values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{ end -}}
nodeSelector:
  {{- toYaml (mergeOverwrite (dict "kubernetes.io/os" "linux") $values.nodeSelector) | nindent 2 }}
affinity:
  {{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
  {{- else }}
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions:
        - key: kubernetes.io/arch
          operator: In
          values: [amd64, arm64]
  {{- end }}
tolerations:
  {{- toYaml (include "gpuslice.tolerations" . | fromJson).tolerations | nindent 2 }}
{{- end }}

{{/* KILL: to end processes of pods, which may run as any user. The rest as the agent's, for the same GPUs. */}}
{{- define "gpuslice.arbiterSecurityContext" -}}
{{- $values := include "gpuslice.values" . | fromJson }}
{{- $added := list }}
{{- if eq $values.arbiter.onViolation "kill" }}{{ $added = append $added "KILL" }}{{ end }}
{{- if include "gpuslice.needsSysAdmin" . }}{{ $added = append $added "SYS_ADMIN" }}{{ end }}
{{- if $values.compatWithCPUManager -}}
privileged: true
readOnlyRootFilesystem: true
{{- else -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- if $added }}
  add: {{ toJson $added }}
{{- end }}
privileged: false
readOnlyRootFilesystem: true
runAsUser: 0
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- end }}

{{/* {"tolerations": [...]}: ours first, then the values' that say something else. */}}
{{- define "gpuslice.tolerations" -}}
{{- $all := list }}
{{- range list "gpuslice.dev/not-ready" "nvidia.com/gpu" "nvidia.com/gpu-shared" }}
{{-   $all = append $all (dict "key" . "operator" "Exists") }}
{{- end }}
{{- $own := list "gpuslice.dev/not-ready" "nvidia.com/gpu" "nvidia.com/gpu-shared" }}
{{- range (include "gpuslice.values" . | fromJson).tolerations }}
{{-   if not (has .key $own) }}{{ $all = append $all . }}{{ end }}
{{- end }}
{{- dict "tolerations" $all | mustToJson }}
{{- end }}

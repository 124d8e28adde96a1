{{- define "callback.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name }}{{ end -}}
{{- end }}

{{/* The labels of a component, by which its pods are selected: (list $ "server") */}}
{{- define "callback.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "callback.labels" -}}
{{- $root := index . 0 -}}
{{ include "callback.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{/* The name and labels of an object of a component. */}}
{{- define "callback.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "callback.name" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "callback.labels" . | nindent 2 }}
{{- end }}

{{/* The image of a component: (list $ .Values.server) */}}
{{- define "callback.image" -}}
{{- $root := index . 0 -}}
{{- with mergeOverwrite (deepCopy $root.Values.image) ((index . 1).image | default dict) -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $root.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "callback.serverTarget" -}}
{{ include "callback.name" . }}-server:50051
{{- end }}

{{/* How edges and the console reach the servers: the variables of the process with this prefix. */}}
{{- define "callback.connection" -}}
{{- $root := index . 0 -}}
{{- $prefix := index . 1 -}}
- name: {{ $prefix }}_SERVER_TARGET
  value: {{ include "callback.serverTarget" $root }}
{{- if $root.Values.tls.secret }}
- name: {{ $prefix }}_SERVER_TLS
  value: {{ dict "ca_file" "/etc/callback/tls/ca.crt" "server_name" ($root.Values.tls.serverName | default (printf "%s-server" (include "callback.name" $root))) | toJson | quote }}
{{- else }}
- name: {{ $prefix }}_ALLOW_PLAINTEXT
  value: "true"
{{- end }}
{{- end }}

{{/* What the containers of all components have in common: (list $ "server" .Values.server 9051) */}}
{{- define "callback.container" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
name: {{ $component }}
image: {{ include "callback.image" (list $root (index . 2)) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [{{ $component }}]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml (index . 2).resources | nindent 2 }}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* The rest of a pod of a component. */}}
{{- define "callback.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add $values.drainSeconds $values.graceSeconds 10 }}
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "callback.selector" (list $root $component) | nindent 8 }}
  {{- end }}
{{- end }}

{{/* Variables of a dictionary, as text. */}}
{{- define "callback.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Volumes of secrets, each a folder: files of a folder follow a change, those of a single file do not. */}}
{{- define "callback.secretMounts" -}}
{{- range . }}
- name: secret-{{ . }}
  mountPath: /etc/callback/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- end }}
{{- define "callback.secretVolumes" -}}
{{- range . }}
- name: secret-{{ . }}
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* Stops the rendering with what is missing. */}}
{{- define "callback.check" -}}
{{- if not .Values.boxUrl }}{{ fail "boxUrl is required: the public URL of the edges, as in https://callback.example" }}{{ end }}
{{- if not .Values.store.url }}{{ fail "store.url is required: the chart starts no store" }}{{ end }}
{{- if not .Values.edgeTokenSecret.name }}{{ fail "edgeTokenSecret.name is required: a secret with the token of a principal that has the role edge" }}{{ end }}
{{- if not .Values.principals }}{{ fail "principals is required: the principals file, as in --set-file principals=principals.toml" }}{{ end }}
{{- if not (or .Values.tls.secret .Values.tls.allowPlaintext) }}{{ fail "tls.secret is required, or tls.allowPlaintext if a mesh encrypts between the pods" }}{{ end }}
{{- if and .Values.console.enabled (not .Values.console.publicUrl) }}{{ fail "console.publicUrl is required: the URL of the console in a browser, as in https://console.example" }}{{ end }}
{{- end }}

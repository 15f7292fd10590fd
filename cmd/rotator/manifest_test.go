package main

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/goccy/go-yaml"
)

// The fields of the Kubernetes API that deploy/kubernetes.yaml uses, as the API spells them: a cluster ignores a field of another name,
// and a hardening that is spelt wrong hardens nothing.
type (
	apiObject struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   apiMeta           `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
		Automount  *bool             `yaml:"automountServiceAccountToken"`
		Spec       struct {
			Replicas int         `yaml:"replicas"`
			Selector apiSelector `yaml:"selector"`
			Strategy struct {
				Type   string `yaml:"type"`
				Update struct {
					MaxUnavailable int `yaml:"maxUnavailable"`
					MaxSurge       int `yaml:"maxSurge"`
				} `yaml:"rollingUpdate"`
			} `yaml:"strategy"`
			Template struct {
				Metadata apiMeta `yaml:"metadata"`
				Spec     apiPod  `yaml:"spec"`
			} `yaml:"template"`
			MinAvailable int         `yaml:"minAvailable"`
			PodSelector  apiSelector `yaml:"podSelector"`
			PolicyTypes  []string    `yaml:"policyTypes"`
			Ingress      []apiRule   `yaml:"ingress"`
			Egress       []apiRule   `yaml:"egress"`
		} `yaml:"spec"`
	}
	apiMeta struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	}
	apiSelector struct {
		Labels map[string]string `yaml:"matchLabels"`
	}
	apiRule struct {
		Ports []struct {
			Port     int    `yaml:"port"`
			Protocol string `yaml:"protocol"`
		} `yaml:"ports"`
	}
	apiPod struct {
		Account   string `yaml:"serviceAccountName"`
		Automount *bool  `yaml:"automountServiceAccountToken"`
		Links     *bool  `yaml:"enableServiceLinks"`
		Grace     int    `yaml:"terminationGracePeriodSeconds"`
		Security  struct {
			NonRoot bool `yaml:"runAsNonRoot"`
			User    int  `yaml:"runAsUser"`
			Group   int  `yaml:"runAsGroup"`
			FSGroup int  `yaml:"fsGroup"`
			Seccomp struct {
				Type string `yaml:"type"`
			} `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		Spread []struct {
			MaxSkew  int         `yaml:"maxSkew"`
			Key      string      `yaml:"topologyKey"`
			Unmet    string      `yaml:"whenUnsatisfiable"`
			Selector apiSelector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Containers []apiContainer `yaml:"containers"`
		Volumes    []struct {
			Name      string `yaml:"name"`
			ConfigMap struct {
				Name string `yaml:"name"`
			} `yaml:"configMap"`
			Secret struct {
				Name string `yaml:"secretName"`
				Mode int    `yaml:"defaultMode"`
			} `yaml:"secret"`
			Projected struct {
				Mode    int `yaml:"defaultMode"`
				Sources []struct {
					Token struct {
						Path     string `yaml:"path"`
						Audience string `yaml:"audience"`
						Seconds  int    `yaml:"expirationSeconds"`
					} `yaml:"serviceAccountToken"`
				} `yaml:"sources"`
			} `yaml:"projected"`
		} `yaml:"volumes"`
	}
	apiContainer struct {
		Name  string   `yaml:"name"`
		Image string   `yaml:"image"`
		Args  []string `yaml:"args"`
		Ports []struct {
			Name string `yaml:"name"`
			Port int    `yaml:"containerPort"`
		} `yaml:"ports"`
		Startup   apiProbe `yaml:"startupProbe"`
		Liveness  apiProbe `yaml:"livenessProbe"`
		Readiness apiProbe `yaml:"readinessProbe"`
		Resources struct {
			Requests map[string]string `yaml:"requests"`
			Limits   map[string]string `yaml:"limits"`
		} `yaml:"resources"`
		Security struct {
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnly     *bool `yaml:"readOnlyRootFilesystem"`
			Capabilities struct {
				Drop []string `yaml:"drop"`
			} `yaml:"capabilities"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name     string `yaml:"name"`
			Path     string `yaml:"mountPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	apiProbe struct {
		Get struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
		Period    int `yaml:"periodSeconds"`
		Timeout   int `yaml:"timeoutSeconds"`
		Threshold int `yaml:"failureThreshold"`
	}
)

// strictly fails for every field that is not spelt as the API spells it, or holds another type.
func strictly(t *testing.T) {
	t.Helper()
	raw, err := os.ReadFile("deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()); ; {
		var o apiObject
		if err := d.Decode(&o); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			mounted := make(map[string]bool)
			for _, v := range o.Spec.Template.Spec.Volumes {
				mounted[v.Name] = true
			}
			for _, m := range c.Mounts {
				if !mounted[m.Name] {
					t.Errorf("%s mounts %s, which is no volume", c.Name, m.Name)
				}
			}
		}
	}
}

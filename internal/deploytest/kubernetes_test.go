package deploytest

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kubernetes = root + "/deploy/k8s"

// decoder turns a manifest into the type of its kind, and refuses fields that the type does not have and fields given twice.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, autoscaling.AddToScheme, core.AddToScheme, networking.AddToScheme, policy.AddToScheme,
		gateway.Install, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// manifests are the objects of one installation.
type manifests []runtime.Object

// build renders a folder as "kubectl apply -k" does, and decodes what comes out.
func build(t *testing.T, folder string) manifests {
	t.Helper()
	return decode(t, render(t, folder))
}

// render gives the documents of a folder.
func render(t *testing.T, folder string) []string {
	t.Helper()
	// The default options: files from outside of a kustomization's folder are refused, as kubectl refuses them.
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("%s does not build: %v", folder, err)
	}
	var documents []string
	for _, r := range rendered.Resources() {
		document, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(document))
	}
	return documents
}

func decode(t *testing.T, documents []string) manifests {
	t.Helper()
	d := decoder(t)
	var all manifests
	for _, document := range documents {
		object, _, err := d.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Errorf("%v in\n%s", err, document)
			continue
		}
		all = append(all, object)
	}
	return all
}

// the finds the one object of a type that has a name.
func the[T runtime.Object](t *testing.T, all manifests, name string) T {
	t.Helper()
	var found []T
	for _, object := range all {
		if o, ok := object.(T); ok && (name == "" || nameOf(o) == name) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %v named %q, want 1", len(found), reflect.TypeFor[T](), name)
	}
	return found[0]
}

func nameOf(o runtime.Object) string {
	return o.(interface{ GetName() string }).GetName()
}

// overlays are the installations that are shipped, by name.
func overlays(t *testing.T) map[string]manifests {
	t.Helper()
	folders, err := filepath.Glob(kubernetes + "/overlays/*")
	if err != nil || len(folders) < 2 {
		t.Fatalf("overlays: %v, %v", folders, err)
	}
	all := make(map[string]manifests)
	for _, folder := range folders {
		all[filepath.Base(folder)] = build(t, folder)
	}
	return all
}

// eachOverlay runs a test on every installation that is shipped.
func eachOverlay(t *testing.T, check func(t *testing.T, all manifests)) {
	for name, all := range overlays(t) {
		t.Run(name, func(t *testing.T) { check(t, all) })
	}
}

// TestComponentsBuild: every component can be added to the base, alone.
func TestComponentsBuild(t *testing.T) {
	folders, err := filepath.Glob(kubernetes + "/components/*")
	if err != nil || len(folders) < 6 {
		t.Fatalf("components: %v, %v", folders, err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			text := "resources: [../base]\ncomponents: [../components/" + filepath.Base(folder) + "]\n"
			if got, base := len(buildText(t, text)), len(build(t, kubernetes+"/base")); got <= base {
				t.Errorf("%d objects with the component, %d without", got, base)
			}
		})
	}
}

// TestStrict: the decoder that the other tests rely on refuses what an API server would refuse or drop.
func TestStrict(t *testing.T) {
	good := render(t, kubernetes+"/base")
	for _, document := range good {
		if !strings.Contains(document, "kind: Deployment") {
			continue
		}
		for _, bad := range []string{
			strings.Replace(document, "minReadySeconds:", "minReadySecs:", 1),
			strings.Replace(document, "enableServiceLinks: false", "enableServiceLinks: \"no\"", 1),
			document + "kind: Deployment\n",
		} {
			if _, _, err := decoder(t).Decode([]byte(bad), nil, nil); err == nil || bad == document {
				t.Errorf("accepted:\n%s", bad)
			}
		}
		return
	}
	t.Error("the base has no Deployment")
}

// TestReplicas: how many nodes there are is for "kubectl scale" and the autoscaler; applying again changes nothing about it.
func TestReplicas(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		if n := the[*apps.Deployment](t, all, "hubfleet").Spec.Replicas; n != nil {
			t.Errorf("the Deployment says %d replicas; applying it would undo kubectl scale", *n)
		}
	})
	for name, all := range overlays(t) {
		for _, o := range all {
			if h, ok := o.(*autoscaling.HorizontalPodAutoscaler); ok {
				if target := h.Spec.ScaleTargetRef; target.Kind != "Deployment" || target.Name != "hubfleet" {
					t.Errorf("%s: the autoscaler scales %v", name, target)
				}
			}
		}
	}
}

// TestNamespace: an overlay's objects are all in its namespace, which enforces the restricted level.
func TestNamespace(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		namespace := the[*core.Namespace](t, all, "")
		if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Errorf("the namespace does not enforce the restricted level: %v", namespace.Labels)
		}
		for _, o := range all {
			if got := o.(interface{ GetNamespace() string }).GetNamespace(); got != namespace.Name && o != runtime.Object(namespace) {
				t.Errorf("%T %s is in the namespace %q, not %q", o, nameOf(o), got, namespace.Name)
			}
		}
	})
}

// TestSelectors: whatever selects Pods selects those of the Deployment that it is for.
func TestSelectors(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		d := the[*apps.Deployment](t, all, "hubfleet")
		pod := d.Spec.Template.Labels
		selectors := map[string]map[string]string{
			"Deployment":          d.Spec.Selector.MatchLabels,
			"Service":             the[*core.Service](t, all, "hubfleet").Spec.Selector,
			"PodDisruptionBudget": the[*policy.PodDisruptionBudget](t, all, "hubfleet").Spec.Selector.MatchLabels,
		}
		for i, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			selectors["spread over "+c.TopologyKey] = d.Spec.Template.Spec.TopologySpreadConstraints[i].LabelSelector.MatchLabels
		}
		for _, o := range all {
			switch o := o.(type) {
			case *monitoring.PodMonitor:
				selectors["PodMonitor"] = o.Spec.Selector.MatchLabels
			case *networking.NetworkPolicy:
				if o.Name == "hubfleet" {
					selectors["NetworkPolicy"] = o.Spec.PodSelector.MatchLabels
				}
			}
		}
		if len(selectors) < 5 {
			t.Errorf("only %d selectors", len(selectors))
		}
		for what, selector := range selectors {
			if len(selector) == 0 {
				t.Errorf("%s selects every Pod", what)
			}
			for key, value := range selector {
				if pod[key] != value {
					t.Errorf("%s wants %s=%s; the Pods have %q", what, key, value, pod[key])
				}
			}
		}
	})
}

// TestRestricted: every Pod meets the restricted level of Pod Security, field by field.
func TestRestricted(t *testing.T) {
	eachOverlay(t, func(t *testing.T, all manifests) {
		for _, o := range all {
			d, ok := o.(*apps.Deployment)
			if !ok {
				continue
			}
			spec := d.Spec.Template.Spec
			if p := spec.SecurityContext; p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || p.RunAsUser == nil || *p.RunAsUser == 0 ||
				p.SeccompProfile == nil || p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: the Pod's security context is %+v", d.Name, p)
			}
			if spec.HostNetwork || spec.HostPID || spec.HostIPC || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Errorf("%s: the Pod shares something with its host, or has a token", d.Name)
			}
			for _, c := range append(slices.Clone(spec.InitContainers), spec.Containers...) {
				s := c.SecurityContext
				if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
					s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 ||
					s.Privileged != nil && *s.Privileged {
					t.Errorf("%s: the container %s has the security context %+v", d.Name, c.Name, s)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: the container %s has the resources %v", d.Name, c.Name, c.Resources)
				}
			}
			for _, v := range spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("%s: the volume %s is of the host", d.Name, v.Name)
				}
			}
		}
	})
	if sa := the[*core.ServiceAccount](t, build(t, kubernetes+"/base"), "hubfleet"); sa.AutomountServiceAccountToken == nil || *sa.AutomountServiceAccountToken {
		t.Error("the ServiceAccount gives out tokens")
	}
}

// TestSecretExample: the example decodes, and has exactly the keys whose files the production overlay names.
func TestSecretExample(t *testing.T) {
	secret := the[*core.Secret](t, decode(t, []string{read(t, "deploy/k8s/overlays/production/secret.example.yaml")}), "hubfleet-secrets")
	all := overlays(t)["production"]
	d := the[*apps.Deployment](t, all, "hubfleet")
	mounts := make(map[string]string) // path by name of the Secret
	for _, v := range d.Spec.Template.Spec.Volumes {
		for _, m := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
			if v.Secret != nil && m.Name == v.Name {
				mounts[v.Secret.SecretName] = m.MountPath
			}
		}
	}
	folder := mounts[secret.Name]
	if folder == "" {
		t.Fatalf("the Deployment does not mount the Secret %s", secret.Name)
	}
	wanted := make(map[string]bool)
	for name, value := range configOf(t, all).Data {
		if strings.HasSuffix(name, "_FILE") {
			key, inside := strings.CutPrefix(value, folder+"/")
			if _, has := secret.StringData[key]; !inside || !has {
				t.Errorf("%s is %s; the Secret at %s has no such key", name, value, folder)
			}
			wanted[key] = true
		}
	}
	for key := range secret.StringData {
		if !wanted[key] {
			t.Errorf("nothing reads the key %s of the Secret", key)
		}
	}
}

// configOf is the ConfigMap that the nodes' settings are in.
func configOf(t *testing.T, all manifests) *core.ConfigMap {
	t.Helper()
	for _, o := range all {
		if c, ok := o.(*core.ConfigMap); ok && strings.HasPrefix(c.Name, "hubfleet-config") {
			if used := the[*apps.Deployment](t, all, "hubfleet").Spec.Template.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name; used != c.Name || used == "hubfleet-config" {
				t.Errorf("the Pods use the ConfigMap %s; there is %s, whose name should have a hash", used, c.Name)
			}
			return c
		}
	}
	t.Fatal("no ConfigMap hubfleet-config")
	return nil
}

package main

import (
	"context"
	"fmt"
	"slices"
)

// variant is a way to be registered.
type variant struct {
	name      string
	flow      bool // with instance-id and reg-id
	supported string
	policy    string
}

const (
	fiveRules = `[groups]
staff = ["user00001", "user00002"]
[[rule]]
when = { group = ["staff"], transport = ["tls"] }
expires_max = "1h"
[[rule]]
when = { nat = true }
expires_max = "5m"
[[rule]]
when = { source = ["198.51.100.0/24"] }
deny = {}
[[rule]]
when = { time = "08:00-18:00", days = ["sat"] }
expires_max = "30m"
[[rule]]
expires_max = "2h"
max_devices = 5
`
)

var variants = []variant{
	{name: "plain", supported: "replaces"},
	{name: "with a policy of five rules", supported: "replaces", policy: fiveRules},
	{name: "outbound", flow: true, supported: "path, outbound"},
	{name: "outbound, policy", flow: true, supported: "path, outbound", policy: fiveRules},
	{name: "outbound, policy, two GRUUs", flow: true, supported: "path, outbound, gruu", policy: fiveRules},
}

// features measures every variant in turn, rounds times: everybody registers, and then again, which is what nearly all REGISTERs are.
func (b *bench) features(ctx context.Context, rates []int, rounds int) error {
	flows := []string{"SEQUENTIAL"}
	for u := range b.users {
		flows = append(flows, fmt.Sprintf("user%05d;[authentication username=user%05d password=pw-%05d];%012d;", u, u, u, u))
	}
	if err := b.write("flows.csv", flows...); err != nil {
		return err
	}
	for _, rate := range rates {
		fmt.Printf("\n| REGISTER, 401, REGISTER, 200 at %d a second | new: CPU us | to plain, pair by pair (min, median, max) | again: CPU us | to plain | failed |\n|---|---|---|---|---|---|\n", rate)
		fresh, again := make([][]result, len(variants)), make([][]result, len(variants))
		for range rounds {
			for i := range variants {
				if err := b.feature(ctx, i, rate, &fresh[i], &again[i]); err != nil {
					return err
				}
			}
		}
		for i, v := range variants {
			fmt.Printf("| %s | %.0f | %s | %.0f | %s | %d |\n", v.name, median(fresh[i], cpuOf), ratios(fresh[i], fresh[0]), median(again[i], cpuOf), ratios(again[i], again[0]), sum(fresh[i], failedOf)+sum(again[i], failedOf))
		}
	}
	return nil
}

// feature measures one variant once.
func (b *bench) feature(ctx context.Context, i, rate int, into ...*[]result) error {
	v := variants[i]
	b.policy = v.policy
	srv := b.signalbox()
	if err := srv.start(ctx); err != nil {
		return err
	}
	defer srv.stop()
	users, keys := "register.csv", []string{"-key", "supported", v.supported, "-key", "flow", "", "-key", "close", ""}
	if v.flow {
		users, keys[5], keys[8] = "flows.csv", `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-`, `>";reg-id=1`
	}
	for _, list := range into {
		res, err := b.play(ctx, srv, "register_features.xml", users, fmt.Sprintf("127.0.0.1:%d", b.callee), rate, keys...)
		if err != nil {
			return err
		}
		*list = append(*list, res)
	}
	return nil
}

func ratios(of, to []result) string {
	var list []float64
	for i := range of {
		list = append(list, of[i].cpu/to[i].cpu)
	}
	slices.Sort(list)
	return fmt.Sprintf("%.2f, **%.2f**, %.2f", list[0], list[len(list)/2], list[len(list)-1])
}

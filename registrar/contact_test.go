package registrar

import "testing"

// What a binding keeps of a Contact's parameters, and what it leaves out: only whole parameters, never what stands inside a value. RFC 3261, 10.3 step 8; RFC 5627, 5.1
func TestKeptParams(t *testing.T) {
	for params, want := range map[string]string{
		"":                                 "",
		";expires=60":                      "",
		";ob":                              ";ob",
		";ob;expires=60":                   ";ob",
		";expires=60;ob":                   ";ob",
		";a;q=0.5;b;expires=60;c":          ";a;b;c",
		`;x=";q=1;expires=60";q=1`:         `;x=";q=1;expires=60"`,
		`;q=1;qq;x=";q=1"`:                 `;qq;x=";q=1"`,
		`;pub-gruu="x";a;temp-gruu="y";+b`: ";a;+b",
		";+sip.instance=\"<urn:uuid:1>\"; reg-id=1 ;expires=3": ";+sip.instance=\"<urn:uuid:1>\"; reg-id=1 ",
	} {
		var c contact
		if _, err := c.readParams(params); err != nil || c.params != want {
			t.Errorf("%s: %q, %v, want %q", params, c.params, err, want)
		}
	}
}

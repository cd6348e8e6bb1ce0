package interop

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promise is something that a user was promised about registrations, and the tests that hold the program to it: what is observed, and what bad input gets.
// A name with a dot is a file: a ladder of cmd/signalbox/testdata/ladder, a script beside it, or a scenario of sipp/.
type promise struct{ what, good, bad string }

var promises = []promise{
	{"the server knows that a device is connected: every binding, outbound, GRUUs, online or offline since when, over kill -9",
		"TestPhoneIsADevice TestFlows TestKillLosesNothing register.xml outbound.xml registrar/rfc3665-2.1.ladder registrar/outbound.ladder registrar/gruu.ladder TestLostPhone",
		"registrar/unknown-user.ladder registrar/other-domain.ladder registrar/star.ladder registrar/order.ladder registrar/extensions.ladder registrar/own-address-as-contact.ladder register_errors.xml TestContactFlood TestPhonesAreBounded"},
	{"asynchronous notifications, both ways: reg-event over the device's own flow, CRLF and STUN answered, MESSAGE to and from it",
		"TestRegEvent TestBrowserWatches watch.xml message.xml regevent/subscribe.ladder regevent/behind-nat.ladder TestUDPKeepAlives TestAnswerSTUN TestKeepAliveOptions TestEventFeedIsNotEmptiedByReading",
		"watch_errors.xml regevent/refused.ladder regevent/answered-481.ladder regevent/answered-408.ladder login/watch.ladder TestSTUNMalformed TestNobodyElseKeepsAlive"},
	{"the device's session carries no media", "login/device.ladder TestDevice", "TestDevice"},
	{"both sides prove themselves: rspauth and nextnonce, server and client certificates, trust that a policy demands",
		"TestMutualDigest TestCertificateNamesDevice TestTLS TestClientCertificates TestDeviceCertificates TestRequireTrust TestReauthenticationAndMoving",
		"TestMutualDigest TestCertificateNamesDevice TestReplay TestBruteForce TestEnumeration registrar/stale-nonce.ladder"},
	{"mobility: the same instance and reg-id from elsewhere replaces the flow, a dead one is never used",
		"TestPhoneMoves TestLinphoneMoves TestFlowReplaced TestConnectionLost proxy/outbound-next-flow.ladder TestFlowTimerMissed",
		"TestEdgeToken TestTokenRefused TestHardening46FlowReuse TestAllFlowsFail proxy/port-reused.ladder"},
	{"registrations are ruled by a policy, and a changed one applies to those that live",
		"TestPolicyBySIGHUP TestPolicyChangeIsNotified TestApply TestWindowOpens TestFirstRuleCounts TestReadmePolicy policy.txtar login/policy-terms.ladder login/policy-shortened.ladder login/policy-probation.ladder login/policy-rejected.ladder",
		"TestPolicyBySIGHUP TestPolicyFailsClosed TestUnknownFactsDeny TestPanicDenies TestFindings TestZeroIsNotNothing TestNamesAreWhole policy.txtar"},
	{"application instances have addresses of their own, and are found by user, device and capability",
		"TestQueries proxy/caller-preferences.ladder registrar/gruu.ladder device.txtar TestDevice", "TestForeignInstance TestGRUUStranger TestDeviceAPIErrors registrar/gruu.ladder TestForged"},
	{"a user logs in on a device with a start and an end, by three doors",
		"TestDevice TestLoginTimesAndLimits TestOwnLogin TestScheduledLogin TestPending login/by-device.ladder login/by-administrator.ladder device.xml device.txtar",
		"login/no-grant.ladder login/foreign-device.ladder TestLoginRefused TestDeviceAPIErrors TestRefusedLoginLeavesNothing TestRemovedUserLeavesNoGrant device.txtar"},
	{"a login is an identity: the answer says which may be used in From, and no other may; a token proves it while it lasts",
		"TestIdentityOfAPhone TestDevice TestPhoneIsADevice login/by-device.ladder TestSessionToken TestBrowserSessionToken TestSessionLasts TestSessionAges",
		"TestDevice login/foreign-device.ladder proxy/identity.ladder registrar/third-party.ladder TestSession TestSessionRotates TestHardening31SessionToken"},
	{"several users on one device, each independent; limits; the device lost, all are",
		"TestLoginTimesAndLimits TestAdministratorsLoginFollowsTheDevice TestBegin TestGrace TestIdleAndLongest TestAutoLogout login/auto-logout.ladder login/auto-logout-lasts.ladder login/elsewhere.ladder",
		"TestLoginTimesAndLimits login/too-many-users.ladder login/elsewhere.ladder login/watch.ladder TestMaxDevices"},
}

// Every promise has its tests, for good input and bad, and they are there.
func TestPromisesHaveTests(t *testing.T) {
	tests, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range promises {
		for _, names := range []string{p.good, p.bad} {
			if names == "" {
				t.Errorf("%s: not tested", p.what)
			}
			for _, name := range strings.Fields(names) {
				dir := map[string]string{".ladder": "../cmd/signalbox/testdata/ladder", ".txtar": "../cmd/signalbox/testdata/script", ".xml": "sipp"}[filepath.Ext(name)]
				if _, err := os.Stat(filepath.Join(dir, name)); dir != "" && err != nil || dir == "" && !tests[name] {
					t.Errorf("%s: there is no %s", p.what, name)
				}
			}
		}
	}
}

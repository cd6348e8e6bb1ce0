package main

import (
	"context"
	"crypto/md5"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bindingsPerUser is the registrar's default limit.
const bindingsPerUser = 10

// kamailioCeiling is the highest rate at which Kamailio is asked to write through to SQLite: it manages some 250 a second, and more only takes longer to fail.
const kamailioCeiling = 300

// registrations measures durable registrations: `make bench-registrations`. SIPp offers them at rising rates; then a million bindings are registered, kept, and read again after kill -9.
func (b *bench) registrations(ctx context.Context, rates []string, bindings int) error {
	b.durable = true
	fmt.Printf("\n| registrations offered/s (401, then 200 when on disk) | server | failed | p50 / p99 ms of the 200 | CPU us | RSS MB |\n|---|---|---|---|---|---|\n")
	if err := b.locationTable(); err != nil {
		return err
	}
	for _, each := range rates {
		rate, err := strconv.Atoi(each)
		if err != nil {
			return fmt.Errorf("rates: %w", err)
		}
		if err := b.durably(ctx, b.signalbox(), rate); err != nil {
			return err
		}
		if rate <= kamailioCeiling {
			if err := b.durably(ctx, b.kamailio(), rate); err != nil {
				return err
			}
		}
	}
	if bindings == 0 {
		return nil
	}
	return b.million(ctx, bindings)
}

// durably registers all users three times at a rate: the first time bindings are new, then they are refreshed.
func (b *bench) durably(ctx context.Context, srv server, rate int) error {
	if err := srv.start(ctx); err != nil {
		return err
	}
	defer srv.stop()
	var last result
	for range 3 {
		res, err := b.run(ctx, srv, "registration", rate)
		if err != nil {
			return err
		}
		res.failed += last.failed
		last = res
	}
	fmt.Printf("| %d | %s | %d of %d | %.1f / %.1f | %.0f | %.0f |\n", rate, srv.name, last.failed, 3*b.users, last.p50, last.p99, last.cpu, srv.rssMB())
	return nil
}

// locationTable has Kamailio write its bindings through to SQLite, as Debian's own script lays them out.
func (b *bench) locationTable() error {
	b.writeThrough = true
	script, err := os.ReadFile("/usr/share/kamailio/db_sqlite/usrloc-create.sql")
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", b.path("kamailio.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(string(script))
	return err
}

// million registers bindings over UDP, ten for each user, and restarts the server.
func (b *bench) million(ctx context.Context, bindings int) error {
	users := bindings / bindingsPerUser
	accounts := []string{"username,password"}
	for i := range users {
		accounts = append(accounts, fmt.Sprintf("m%06d,pw-%d", i, i))
	}
	if err := b.write("users.csv", accounts...); err != nil {
		return err
	}
	srv := b.signalbox()
	if err := srv.start(ctx); err != nil {
		return err
	}
	defer func() { srv.stop() }()
	fmt.Printf("\n%d accounts, %d bindings:\n\n", users, bindings)
	fmt.Printf("- before the first registration: RSS %.0f MB\n", srv.rssMB())
	begin := time.Now()
	var next, failed atomic.Int64
	var phones sync.WaitGroup
	for range 32 {
		phones.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= users {
					return
				}
				if err := registerTen(srv.port, i); err != nil && failed.Add(1) < 4 {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		})
	}
	phones.Wait()
	took := time.Since(begin)
	fmt.Printf("- registered in %.1f s (%.0f REGISTERs a second, each with ten contacts, after its 401), %d failed: RSS %.0f MB, peak %.0f MB\n", took.Seconds(), float64(users)/took.Seconds(), failed.Load(), srv.rssMB(), srv.peakMB())
	select {
	case <-time.After(40 * time.Second): // the transactions have ended
	case <-ctx.Done():
	}
	fmt.Printf("- 40 s later: RSS %.0f MB\n", srv.rssMB())
	srv.stop() // kill -9
	srv.cmd = exec.Command(b.path("signalbox"), "serve", "--config", b.path("signalbox.toml"))
	begin = time.Now()
	if err := srv.start(ctx); err != nil {
		return err
	}
	fmt.Printf("- kill -9, then serving again after %.1f s, %.1f s of CPU: RSS %.0f MB, peak %.0f MB\n", time.Since(begin).Seconds(), srv.cpu()/1e6, srv.rssMB(), srv.peakMB())
	info, err := os.Stat(b.path("data/signalbox.db"))
	if err != nil {
		return err
	}
	out, err := exec.Command("curl", "-s", "--unix-socket", filepath.Join(b.dir, "data/control.sock"), "http://signalbox/v1/status").Output()
	_, count, _ := strings.Cut(string(out), `"registrations":`)
	count, _, _ = strings.Cut(count, ",")
	fmt.Printf("- bindings: %s; database %d MB\n", count, info.Size()>>20)
	return err
}

// registerTen registers the ten contacts of one user.
func registerTen(port, i int) error {
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer c.Close()
	user, password := fmt.Sprintf("m%06d", i), fmt.Sprintf("pw-%d", i)
	var contacts strings.Builder
	for k := range bindingsPerUser {
		fmt.Fprintf(&contacts, "Contact: <sip:%s.%d@%s>\r\n", user, k, c.LocalAddr())
	}
	ask := func(cseq int, more string) (string, error) {
		req := fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKm%d.%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%[1]s>;tag=m\r\nTo: <sip:%[5]s@%[1]s>\r\nCall-ID: %[5]s\r\nCSeq: %[4]d REGISTER\r\nExpires: 7200\r\n%[6]s%[7]sContent-Length: 0\r\n\r\n",
			domain, c.LocalAddr(), i, cseq, user, contacts.String(), more)
		b := make([]byte, 64<<10)
		for wait := 500 * time.Millisecond; wait < 20*time.Second; wait *= 2 {
			if _, err := c.Write([]byte(req)); err != nil {
				return "", err
			}
			_ = c.SetReadDeadline(time.Now().Add(wait))
			if n, err := c.Read(b); err == nil {
				return string(b[:n]), nil
			}
		}
		return "", fmt.Errorf("%s: no answer", user)
	}
	res, err := ask(1, "")
	if err != nil {
		return err
	}
	_, nonce, _ := strings.Cut(res, `nonce="`)
	nonce, _, _ = strings.Cut(nonce, `"`)
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	uri := "sip:" + domain
	response := hash(hash(user+":"+domain+":"+password) + ":" + nonce + ":00000001:c:auth:" + hash("REGISTER:"+uri))
	res, err = ask(2, fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n", user, domain, nonce, uri, response))
	if err == nil && !strings.HasPrefix(res, "SIP/2.0 200 ") {
		line, _, _ := strings.Cut(res, "\r\n")
		err = fmt.Errorf("%s: %s", user, line)
	}
	return err
}

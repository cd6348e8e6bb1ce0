package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// passwordFlags are the ways to hand over a password.
type passwordFlags struct {
	password string
	stdin    bool
	given    func() bool
}

func (p *passwordFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.password, "password", "", "the `PASSWORD`; other users of this machine can see it while the command runs")
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of standard input")
	p.given = func() bool { return cmd.Flags().Changed("password") }
}

// password gets a password: from a flag, from standard input, from the person at the terminal; else it makes one.
func (a *app) password(p *passwordFlags, user string) (password string, generated bool, err error) {
	switch {
	case p.given() && p.stdin:
		return "", false, usagef("--password and --password-stdin exclude each other")
	case p.given():
		password = p.password
	case p.stdin:
		password, err = firstLine(a.stdin)
	case isTerminal(a.stdin):
		password, err = a.ask(user)
	default:
		return newPassword(), true, nil
	}
	if err == nil && password == "" {
		err = errors.New("the password is empty")
	}
	return password, false, err
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// ask reads a password twice without showing it.
func (a *app) ask(user string) (string, error) {
	fd := int(a.stdin.(*os.File).Fd())
	read := func(prompt string) (string, error) {
		fmt.Fprint(a.stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(a.stderr)
		return string(b), err
	}
	first, err := read("Password for " + harmless(user) + ": ")
	if err != nil {
		return "", err
	}
	second, err := read("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

// newPassword makes 80 random bits that can be read over a telephone: four groups of four, without 0 1 l o.
func newPassword() string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	var random [16]byte
	rand.Read(random[:])
	out := make([]byte, 0, 19)
	for i, b := range random {
		if i > 0 && i%4 == 0 {
			out = append(out, '-')
		}
		out = append(out, alphabet[b%32])
	}
	return string(out)
}

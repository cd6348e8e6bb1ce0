package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"signalbox/internal/console"
	"signalbox/internal/database"
)

// readUsers reads the accounts of a CSV file. account splits "alice" or "alice@example.org". Every error names file and line.
func readUsers(in io.Reader, name string, account func(string) (user, domain string)) ([]console.Credentials, error) {
	r := csv.NewReader(withoutBOM(in))
	r.ReuseRecord = true
	r.TrimLeadingSpace = true
	header, err := r.Read()
	if err == io.EOF {
		return nil, fmt.Errorf("%s: is empty: want a header line such as username,password", name)
	}
	if err != nil {
		return nil, csvError(name, err)
	}
	columns, err := readHeader(header)
	if err != nil {
		return nil, fmt.Errorf("%s:1: %w", name, err)
	}
	var users []console.Credentials
	seen := map[string]int{}
	for {
		record, err := r.Read()
		if err == io.EOF {
			return users, nil
		}
		if err != nil {
			return nil, csvError(name, err)
		}
		line, _ := r.FieldPos(0)
		c, err := columns.credentials(record, account)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s", name, line, strings.TrimPrefix(err.Error(), "database: "))
		}
		if first, ok := seen[c.User]; ok {
			return nil, fmt.Errorf("%s:%d: %s stands in line %d already", name, line, c.User, first)
		}
		seen[c.User] = line
		users = append(users, c)
	}
}

// withoutBOM drops the byte order mark that spreadsheets write.
func withoutBOM(in io.Reader) io.Reader {
	r := bufio.NewReader(in)
	if b, err := r.Peek(3); err == nil && string(b) == "\xef\xbb\xbf" {
		_, _ = r.Discard(3)
	}
	return r
}

func csvError(name string, err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("%s:%d: %w", name, parse.Line, parse.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// csvColumns says in which column what stands, -1 for absent. Other columns are ignored: a dump of another server's table has many.
type csvColumns struct {
	username, domain, password, md5, sha256 int
}

func readHeader(header []string) (c csvColumns, err error) {
	names := make([]string, len(header))
	for i, name := range header {
		names[i] = strings.ToLower(strings.TrimSpace(name))
	}
	find := func(name string) int { return slices.Index(names, name) }
	c = csvColumns{find("username"), find("domain"), find("password"), find("ha1"), find("ha1_sha256")}
	if c.username < 0 || c.password < 0 && c.md5 < 0 && c.sha256 < 0 {
		return c, errors.New("no header: the first line names the columns username and password (or ha1, ha1_sha256)")
	}
	return c, nil
}

func (c *csvColumns) credentials(record []string, account func(string) (string, string)) (console.Credentials, error) {
	field := func(i int) string {
		if i < 0 {
			return ""
		}
		return record[i]
	}
	user, domain := account(field(c.username))
	if d := field(c.domain); d != "" {
		// With a column of its own for the domain, an @ belongs to the name unless it repeats the domain.
		user, domain = strings.TrimSuffix(field(c.username), "@"+d), strings.ToLower(d)
	}
	if password := field(c.password); password != "" {
		u, err := database.NewUser(user, domain, password)
		return credentials(u), err
	}
	u := database.User{Name: user, Domain: domain, MD5: strings.ToLower(field(c.md5)), SHA256: strings.ToLower(field(c.sha256))}
	return credentials(u), u.Validate()
}

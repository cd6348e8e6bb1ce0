package laddertest

import (
	"maps"
	"slices"
	"strings"

	"signalbox/internal/ladder"
)

// compare returns the headers and body lines of m that want asks for: as want writes them where they match, else as they are.
func compare(want *ladder.Entry, m *message) (fields []ladder.Field, body []string) {
	left := make(map[string][]string) // values not compared yet, by lower-case name
	for _, f := range want.Fields {
		left[strings.ToLower(f.Name)] = m.lines(f.Name)
	}
	for i, f := range want.Fields {
		key := strings.ToLower(f.Name)
		switch values := left[key]; {
		case len(values) > 0 && !f.Absent && match(f.Value, values[0]):
			fields = append(fields, f)
		case len(values) > 0:
			fields = append(fields, ladder.Field{Name: f.Name, Value: values[0]})
		case f.Absent:
			fields = append(fields, f)
			continue
		default:
			continue
		}
		left[key] = left[key][1:]
		// After the last line of this name, what there is more of it.
		more := slices.ContainsFunc(want.Fields[i+1:], func(g ladder.Field) bool { return strings.EqualFold(g.Name, f.Name) })
		if !more {
			for _, v := range left[key] {
				fields = append(fields, ladder.Field{Name: f.Name, Value: v})
			}
		}
	}
	if len(want.Body) > 0 {
		body = strings.Split(strings.TrimSuffix(string(m.body), "\r\n"), "\r\n")
		for i := range body {
			if i < len(want.Body) && match(want.Body[i], body[i]) {
				body[i] = want.Body[i]
			}
		}
	}
	return fields, body
}

// match compares with a pattern in which * stands for any text.
func match(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, part := range parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}

// diff shows two texts line by line: the longest common subsequence stays, - is only in a, + only in b.
func diff(a, b string) string {
	x, y := strings.Split(strings.TrimSuffix(a, "\n"), "\n"), strings.Split(strings.TrimSuffix(b, "\n"), "\n")
	common := make([][]int, len(x)+1)
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out.WriteString("  " + x[i] + "\n")
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("- " + x[i] + "\n")
			i++
		default:
			out.WriteString("+ " + y[j] + "\n")
			j++
		}
	}
	return out.String()
}

func sortedNames(phones map[string]*phone) []string {
	return slices.Sorted(maps.Keys(phones))
}

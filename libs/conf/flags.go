package conf

import (
	"errors"
	"reflect"
	"strings"
	"unicode"
)

// flag is one field of a Config.
type flag struct {
	name   string // without dashes
	value  reflect.Value
	secret bool
}

// flags lists the flags of cfg, a pointer to struct, in the order of its fields.
func flags(cfg any) []flag {
	var all []flag
	walk(reflect.ValueOf(cfg).Elem(), "", func(reflect.Value) {}, func(f flag) { all = append(all, f) })
	return all
}

// validate asks cfg and each struct embedded in it. Go promotes the Validate of an embedded
// part when there is only one, so the same fault may be told twice; it is kept once.
func validate(cfg any) error {
	var faults []error
	seen := map[string]bool{}
	keep := func(err error) {
		for _, fault := range split(err) {
			if !seen[fault.Error()] {
				seen[fault.Error()] = true
				faults = append(faults, fault)
			}
		}
	}
	walk(reflect.ValueOf(cfg).Elem(), "", func(part reflect.Value) {
		if !part.CanInterface() {
			return // embedded by an unexported type: reached through the promoted method
		}
		if v, ok := part.Addr().Interface().(interface{ Validate() error }); ok {
			keep(v.Validate())
		}
	}, func(flag) {})
	return errors.Join(faults...)
}

// walk visits a struct and those embedded in it (parts), and the fields that are flags, the
// way kong does.
func walk(part reflect.Value, prefix string, onPart func(reflect.Value), onFlag func(flag)) {
	onPart(part)
	for i := range part.NumField() {
		field := part.Type().Field(i)
		tag := field.Tag
		_, embed := tag.Lookup("embed")
		switch {
		case tag.Get("kong") == "-":
		case field.Type.Kind() == reflect.Struct && (embed || field.Anonymous):
			walk(part.Field(i), prefix+tag.Get("prefix"), onPart, onFlag)
		case field.IsExported():
			name := tag.Get("name")
			if name == "" {
				name = dashed(field.Name)
			}
			_, secret := tag.Lookup("secret")
			onFlag(flag{name: prefix + name, value: part.Field(i), secret: secret})
		}
	}
}

// dashed is the flag of a field that names none: WriteGap is write-gap.
func dashed(field string) string {
	var b strings.Builder
	for i, r := range field {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(rune(field[i-1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// split undoes errors.Join.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}

// Package values says what calls are given and give back, as JSON that does not depend on how anybody shows values.
package values

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

const (
	deepest = 4  // pointers that are followed
	most    = 10 // elements of a slice that are said
)

var out = bufio.NewWriterSize(os.Stdout, 1<<16)

// Value is one argument or result.
type Value struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// Say prints the arguments and results of a call that is about to be made: their names, and pointers to them.
func Say(function, names, back string, arguments, results []any) {
	line, err := json.Marshal(map[string]any{
		"func": function, "args": all(names, arguments), "results": all(back, results),
	})
	if err != nil {
		panic(err)
	}
	out.WriteString("VALUES ")
	out.Write(line)
	out.WriteByte('\n')
}

// Flush prints what is still to be printed.
func Flush() {
	out.Flush()
}

func all(names string, pointers []any) []Value {
	found, named := []Value{}, strings.Split(names, ",")
	for i, each := range pointers {
		v, name := reflect.ValueOf(each).Elem(), ""
		if i < len(named) {
			name = named[i]
		}
		found = append(found, Value{name, v.Type().String(), encoded(v, deepest)})
	}
	return found
}

func encoded(v reflect.Value, depth int) any {
	if v.Type() == reflect.TypeOf(time.Time{}) {
		at := *(*time.Time)(unsafe.Pointer(v.UnsafeAddr()))
		if at == (time.Time{}) {
			return []any{"time", "time.Time{}"}
		}
		return []any{"time", at.UTC().Format(time.RFC3339Nano)}
	}
	switch v.Kind() {
	case reflect.Bool:
		return []any{"bool", v.Bool()}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return []any{"int", strconv.FormatInt(v.Int(), 10)}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return []any{"int", strconv.FormatUint(v.Uint(), 10)}
	case reflect.Float32, reflect.Float64:
		return []any{"float", number(v.Float())}
	case reflect.Complex64, reflect.Complex128:
		return []any{"complex", number(real(v.Complex())), number(imag(v.Complex()))}
	case reflect.String:
		return []any{"text", base64.StdEncoding.EncodeToString([]byte(v.String()))}
	case reflect.Slice, reflect.Array:
		return several(v, depth)
	case reflect.Struct:
		fields := []any{}
		for i := 0; i < v.NumField(); i++ {
			fields = append(fields, []any{v.Type().Field(i).Name, encoded(v.Field(i), depth)})
		}
		return []any{"struct", fields}
	case reflect.UnsafePointer:
		if v.Pointer() == 0 {
			return nil
		}
		return []any{"pointer", fmt.Sprintf("%#x", v.Pointer()), nil}
	}
	if v.IsNil() {
		return nil
	}
	switch v.Kind() {
	case reflect.Ptr:
		if depth == 0 {
			return []any{"pointer", fmt.Sprintf("%#x", v.Pointer()), nil}
		}
		sized := v.Type().Elem().Size() > 0
		return []any{"pointer", fmt.Sprintf("%#x", v.Pointer()), encoded(v.Elem(), depth-1), sized}
	case reflect.Map:
		return []any{"map", v.Len(), entries(v, depth)}
	case reflect.Chan:
		return []any{"sized", v.Len(), v.Cap()}
	case reflect.Func:
		return []any{"func", runtime.FuncForPC(v.Pointer()).Name()}
	case reflect.Interface:
		return []any{"dynamic", v.Elem().Type().String()}
	}
	panic("a kind without an encoding: " + v.Type().String())
}

func several(v reflect.Value, depth int) any {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		raw := make([]byte, v.Len())
		for i := range raw {
			raw[i] = byte(v.Index(i).Uint())
		}
		return []any{"text", base64.StdEncoding.EncodeToString(raw)}
	}
	items := []any{}
	for i := 0; i < v.Len() && (i < most || v.Kind() == reflect.Array || v.Type().Elem().Size() == 1); i++ {
		items = append(items, encoded(v.Index(i), depth))
	}
	return []any{v.Kind().String(), v.Len(), items, v.Type().Elem().Size()}
}

func entries(v reflect.Value, depth int) []any {
	if v.CanAddr() { // so that it does not count as got through a field that others may not see
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	found := []any{}
	for each := v.MapRange(); each.Next() && depth > 0; {
		found = append(found, []any{encoded(addressable(each.Key()), depth-1), encoded(addressable(each.Value()), depth-1)})
	}
	return found
}

func addressable(v reflect.Value) reflect.Value {
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	return own
}

// Less is the map without one of its keys, given as the only one of another: up to Go 1.19, `any` is not comparable
// to type parameters.
func Less[M any](m, keys M) M {
	for _, key := range reflect.ValueOf(keys).MapKeys() {
		reflect.ValueOf(m).SetMapIndex(key, reflect.Value{})
	}
	return m
}

// JSON has no infinities.
func number(f float64) string {
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// Ptr is where a copy of the value is.
func Ptr[T any](v T) *T {
	return &v
}

// Chan is a channel with some elements in it.
func Chan[T any](count, capacity int) chan T {
	made := make(chan T, capacity)
	for i := 0; i < count; i++ {
		var zero T
		made <- zero
	}
	return made
}

var used any

// Use looks at values, or keeps what they point to.
//
//go:noinline
func Use(given ...any) {
	for _, each := range given {
		used = each
	}
}

// Sum makes a big frame worth its place.
//
//go:noinline
func Sum(given []byte) (sum int) {
	for _, each := range given {
		sum += int(each)
	}
	return sum
}

// Grow makes this goroutine's stack big, so that it does not grow from now on.
//
//go:noinline
func Grow(depth int) int {
	debug.SetGCPercent(-1) // which would make it small again
	var big [1024]byte
	big[depth] = 1
	if depth > 0 {
		return Grow(depth-1) + Sum(big[:])
	}
	return 0
}

// Anew runs something on a goroutine whose stack is small.
func Anew(f func()) {
	done := make(chan bool)
	go func() {
		f()
		close(done)
	}()
	<-done
}

package upstream

import (
	"reflect"
	"testing"
	"time"

	"edge/conf"
)

// Whatever an [[upstream]] says makes another upstream of it, but where it stands, and what the proxy does for it.
func TestSpecKey(t *testing.T) {
	full := func() *conf.Upstream {
		s := spec("http://a:1", "http://b:1")
		s.Health, s.Retries, s.Queue = &conf.HealthCheck{}, &conf.Retries{}, &conf.Queue{}
		return s
	}
	was := specKey(full(), nil)
	elsewhere := full()
	for _, pos := range []*conf.Pos{&elsewhere.Pos, &elsewhere.Timeouts.Pos, &elsewhere.CA.Pos, &elsewhere.Health.Pos, &elsewhere.Retries.Pos, &elsewhere.Queue.Pos, &elsewhere.Targets[0].Pos} {
		pos.Line = 7
	}
	elsewhere.Forwarded = true
	if specKey(elsewhere, nil) != was {
		t.Error("it moved by some lines, and is another one")
	}
	var change func(name string, field func(*conf.Upstream) reflect.Value)
	change = func(name string, field func(*conf.Upstream) reflect.Value) {
		s := full()
		v := field(s)
		switch v.Interface().(type) {
		case conf.Pos, conf.File: // the file's content counts
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			change(name, func(s *conf.Upstream) reflect.Value { return field(s).Elem() })
			v.SetZero()
		case reflect.Struct:
			for i := range v.NumField() {
				change(name+"."+v.Type().Field(i).Name, func(s *conf.Upstream) reflect.Value { return field(s).Field(i) })
			}
			return
		case reflect.Slice:
			if v.Len() > 0 && v.Index(0).Kind() == reflect.Struct {
				change(name, func(s *conf.Upstream) reflect.Value { return field(s).Index(0) })
			}
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + int64(time.Second))
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.1)
		default:
			t.Fatalf("%s is a %s", name, v.Kind())
		}
		if name != ".Forwarded" && specKey(s, nil) == was {
			t.Errorf("%s has changed, and it is the same", name)
		}
	}
	change("", func(s *conf.Upstream) reflect.Value { return reflect.ValueOf(s).Elem() })
	if specKey(full(), []byte("ca")) == was {
		t.Error("its authority has changed, and it is the same")
	}
}

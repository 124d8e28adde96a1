package callback

import (
	"context"
	"sync"
)

// Names has other addresses for names while a test runs.
var Names sync.Map

func init() {
	usual := lookUpHost
	lookUpHost = func(ctx context.Context, host string) ([]string, error) {
		if addresses, isGiven := Names.Load(host); isGiven {
			return addresses.([]string), nil
		}
		return usual(ctx, host)
	}
}

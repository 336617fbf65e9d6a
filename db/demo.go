package db

import (
	_ "embed"
)

// DemoMenu is the menu of the demo chain as JSON, for ParseMenu.
//
//go:embed demo_menu.json
var DemoMenu []byte

// DemoStore is a store of the demo chain. Each is open AroundTheClock, has no slot limit and sells the DemoMenu.
type DemoStore struct {
	Slug     string
	Name     string
	Address  string
	Lat, Lon float64
	Timezone string
}

// DemoStores are the stores that a first start on an empty database opens.
func DemoStores() []DemoStore {
	return []DemoStore{
		{"ferry-building", "Ferry Building", "1 Ferry Building, San Francisco, CA 94111",
			37.7955, -122.3937, "America/Los_Angeles"},
		{"hayes-valley", "Hayes Valley", "432 Octavia Street, San Francisco, CA 94102",
			37.7764, -122.4242, "America/Los_Angeles"},
		{"pike-place", "Pike Place", "1501 Pike Place, Seattle, WA 98101",
			47.6090, -122.3422, "America/Los_Angeles"},
		{"fulton-market", "Fulton Market", "843 West Fulton Market, Chicago, IL 60607",
			41.8868, -87.6491, "America/Chicago"},
		{"grand-central", "Grand Central", "89 East 42nd Street, New York, NY 10017",
			40.7527, -73.9772, "America/New_York"},
		{"dumbo", "Dumbo", "55 Water Street, Brooklyn, NY 11201",
			40.7033, -73.9923, "America/New_York"},
	}
}

"""How nodes hear of each other: link-local beacon, multicast DNS, and the interfaces they run on."""

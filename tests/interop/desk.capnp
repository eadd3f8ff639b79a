# What the tests of RPC with other implementations call: plain values, capabilities both ways, pipelines, exceptions.

@0xa43f0d1c5b7e9e11;

interface Box {
  value @0 () -> (value :UInt64);
}

interface Desk {
  echo @0 (data :Data) -> (data :Data);
  open @1 (value :UInt64) -> (box :Box);
  hand @2 (box :Box) -> (box :Box);
  fail @3 (kind :UInt16) -> ();
  sum @4 (box :Box, times :UInt32) -> (sum :UInt64);
  slow @5 () -> ();
}

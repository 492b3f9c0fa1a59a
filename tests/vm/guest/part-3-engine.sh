# The engine's own tests, on this kernel and this hierarchy.

check "the engine's tests" /vm/engine-tests --test-threads 2
grep -qs . /tmp/swarmd.log && { echo "--- swarmd:"; grep -v ' INFO ' /tmp/swarmd.log | tail -n 40; }

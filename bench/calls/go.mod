module undergo.test/bench/calls

go 1.21

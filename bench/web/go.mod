module undergo.test/bench/web

go 1.21

module undergo.test/programs

go 1.19

// Package store is a database that knows nothing, behind database/sql, and an HTTP handler of another package.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/http"

	"undergo.test/programs/internal/truth"
)

var (
	queryCount = truth.Of("database/sql.(*DB).QueryContext")
	nextCount  = truth.Of("database/sql.(*Rows).Next")
	execCount  = truth.Of("database/sql.(*DB).ExecContext")
	healthy    = truth.Of("undergo.test/programs/webapp/store.Health")
	openCount  = truth.Of("undergo.test/programs/webapp/store.Open")
)

type nothing struct{}

func (nothing) Open(string) (driver.Conn, error)           { return nothing{}, nil }
func (nothing) Prepare(string) (driver.Stmt, error)        { return nothing{}, nil }
func (nothing) Begin() (driver.Tx, error)                  { return nil, errors.New("none") }
func (nothing) Close() error                               { return nil }
func (nothing) NumInput() int                              { return 0 }
func (nothing) Exec([]driver.Value) (driver.Result, error) { return driver.ResultNoRows, nil }
func (nothing) Query([]driver.Value) (driver.Rows, error)  { return nothing{}, nil }
func (nothing) Columns() []string                          { return []string{"n"} }
func (nothing) Next([]driver.Value) error                  { return io.EOF }

// Open opens the database.
//
//go:noinline
func Open() *sql.DB {
	openCount.Enter()
	defer openCount.Leave()
	sql.Register("nothing", nothing{})
	db, err := sql.Open("nothing", "")
	if err != nil {
		panic(err)
	}
	return db
}

// Ask makes one query, of which the rows are looked at, and one change.
func Ask(db *sql.DB) {
	queryCount.Enter()
	rows, err := db.QueryContext(context.Background(), "select n")
	queryCount.Leave()
	if err != nil {
		panic(err)
	}
	nextCount.Enter()
	if rows.Next() {
		panic("a row")
	}
	nextCount.Leave()
	execCount.Enter()
	if _, err := db.ExecContext(context.Background(), "delete"); err != nil {
		panic(err)
	}
	execCount.Leave()
}

// Health is a handler.
//
//go:noinline
func Health(w http.ResponseWriter, _ *http.Request) {
	healthy.Enter()
	defer healthy.Leave()
	fmt.Fprintln(w, "ok")
}

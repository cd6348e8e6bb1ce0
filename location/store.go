package location

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// store is where segments are kept, oldest first.
type store interface {
	// load gives all segments in order.
	load(segment func(id int64, data string) error) error
	// commit adds a segment and removes old ones, both or neither, and returns when that is on disk.
	commit(data []byte, drop []*segment) (id int64, err error)
	close() error
}

// sqlStore is table binding.
type sqlStore struct {
	db             *sql.DB
	insert, remove *sql.Stmt
}

func newSQLStore(db *sql.DB) (*sqlStore, error) {
	insert, err := db.Prepare("INSERT INTO binding (data) VALUES (?)")
	if err != nil {
		return nil, err
	}
	remove, err := db.Prepare("DELETE FROM binding WHERE id = ?")
	if err != nil {
		return nil, errors.Join(err, insert.Close())
	}
	return &sqlStore{db, insert, remove}, nil
}

func (s *sqlStore) close() error { return errors.Join(s.insert.Close(), s.remove.Close()) }

func (s *sqlStore) load(segment func(id int64, data string) error) error {
	rows, err := s.db.Query("SELECT id, data FROM binding ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var data sql.RawBytes
		if err := rows.Scan(&id, &data); err != nil {
			return err
		}
		if err := segment(id, string(data)); err != nil {
			return err
		}
	}
	return rows.Err()
}

// commit takes no context of a caller: it belongs to many of them.
func (s *sqlStore) commit(data []byte, drop []*segment) (id int64, err error) {
	tx, err := s.db.BeginTx(context.Background(), nil)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	r, err := tx.Stmt(s.insert).Exec(data)
	if err != nil {
		return 0, err
	}
	if id, err = r.LastInsertId(); err != nil {
		return 0, err
	}
	remove := tx.Stmt(s.remove)
	for _, seg := range drop {
		if _, err := remove.Exec(seg.id); err != nil {
			return 0, err
		}
	}
	return id, tx.Commit()
}

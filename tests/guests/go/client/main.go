// Clients of real servers on WasmEdge's sockets: what one of them answered is printed, one line each.
//
//	client get URL                    status and body
//	client post URL                   the same, with stdin as the request's body
//	client redis ADDRESS KEY          a value written, read, counted and published by go-redis
//	client mysql DSN TABLE            rows written in transactions and read by go-sql-driver/mysql
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	_ "github.com/stealthrocket/net/http"
	"github.com/stealthrocket/net/wasip1"
)

func main() {
	log.SetFlags(0)
	commands := map[string]func([]string) error{
		"get": get, "post": post, "redis": useRedis, "mysql": useMySQL,
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func get(words []string) error {
	response, err := http.Get(words[0])
	return show(response, err)
}

func post(words []string) error {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return show(http.Post(words[0], "application/octet-stream", bytes.NewReader(body)))
}

func show(response *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode)
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func useRedis(words []string) error {
	address, key := words[0], words[1]
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: address, Dialer: wasip1.DialContext})
	defer client.Close()
	subscription := client.Subscribe(ctx, key+":news")
	defer subscription.Close()
	if _, err := subscription.Receive(ctx); err != nil { // now subscribed
		return err
	}
	if err := client.Set(ctx, key, "from inside", 0).Err(); err != nil {
		return err
	}
	value, err := client.Get(ctx, key).Result()
	if err != nil {
		return err
	}
	fmt.Println("value", value)
	outside, err := client.Get(ctx, key+":outside").Result()
	if err != nil {
		return err
	}
	fmt.Println("outside", outside)
	pipeline := client.Pipeline()
	for i := 0; i < 1000; i++ {
		pipeline.Incr(ctx, key+":counter")
	}
	counts, err := pipeline.Exec(ctx)
	if err != nil {
		return err
	}
	fmt.Println("counter", counts[len(counts)-1].(*redis.IntCmd).Val())
	large := strings.Repeat("0123456789abcdef", 1<<16)
	if err := client.Set(ctx, key+":large", large, 0).Err(); err != nil {
		return err
	}
	back, err := client.Get(ctx, key+":large").Result()
	if err != nil {
		return err
	}
	fmt.Println("large", len(back), back == large)
	if err := client.Publish(ctx, key+":news", "a boat").Err(); err != nil {
		return err
	}
	message, err := subscription.ReceiveMessage(ctx)
	if err != nil {
		return err
	}
	fmt.Println("message", message.Payload)
	return nil
}

func useMySQL(words []string) error {
	dsn, table := words[0], words[1]
	mysql.RegisterDialContext("tcp", func(ctx context.Context, address string) (net.Conn, error) {
		return wasip1.DialContext(ctx, "tcp", address)
	})
	database, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer database.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	transaction, err := database.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	insert, err := transaction.PrepareContext(ctx, "INSERT INTO "+table+" (id, name) VALUES (?, ?)")
	if err != nil {
		return err
	}
	for id := 1; id <= 100; id++ {
		if _, err := insert.ExecContext(ctx, id, fmt.Sprintf("boat %d ⛵", id)); err != nil {
			return err
		}
	}
	if err := transaction.Commit(); err != nil {
		return err
	}
	undone, err := database.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := undone.ExecContext(ctx, "DELETE FROM "+table); err != nil {
		return err
	}
	if err := undone.Rollback(); err != nil {
		return err
	}
	rows, err := database.QueryContext(ctx, "SELECT id, name FROM "+table+" WHERE id > ? ORDER BY id", 98)
	if err != nil {
		return err
	}
	for rows.Next() {
		var id int
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return err
		}
		fmt.Println("row", id, name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var outside string
	query := "SELECT name FROM " + table + " WHERE id = 0"
	if err := database.QueryRowContext(ctx, query).Scan(&outside); err != nil {
		return err
	}
	fmt.Println("outside", outside)
	_, err = database.ExecContext(ctx, "INSERT INTO "+table+" (id, name) VALUES (1, 'again')")
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) {
		return fmt.Errorf("a second row of the same id: %v", err)
	}
	fmt.Println("duplicate", refused.Number)
	return nil
}

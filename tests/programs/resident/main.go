// Command resident gives functions memory that nobody has touched yet, and memory that is no more.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

const page = 4096

// what is there is for whoever traces this to say; it is never looked at here.
//
//go:noinline
func untouched(number int, text string) int {
	return number
}

//go:noinline
func gone(number int, text string) int {
	return number
}

func text(memory []byte, length int) string {
	return *(*string)(unsafe.Pointer(&struct {
		data   unsafe.Pointer
		length int
	}{unsafe.Pointer(&memory[0]), length}))
}

func main() {
	file, err := os.CreateTemp("", "resident")
	if err != nil {
		panic(err)
	}
	os.Remove(file.Name())
	for number := 0; number < 20; number++ {
		if _, err := file.WriteAt([]byte(fmt.Sprintf("page %d", number)), int64(number)*page); err != nil {
			panic(err)
		}
	}
	file.Truncate(20 * page)
	memory, err := syscall.Mmap(int(file.Fd()), 0, 20*page, syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	// else the kernel maps the pages around one that is touched
	if err := syscall.Madvise(memory, syscall.MADV_RANDOM); err != nil {
		panic(err)
	}
	for number := 0; number < 20; number++ {
		untouched(number, text(memory[number*page:], len(fmt.Sprintf("page %d", number))))
	}
	lost, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	held := text(lost, 5)
	syscall.Munmap(lost)
	gone(1, held)
}

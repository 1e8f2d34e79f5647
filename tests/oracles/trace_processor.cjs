// Runs Perfetto's trace processor, as WebAssembly, without a browser.
//
//     node trace_processor.cjs trace_processor.wasm < requests > responses
//
// Requests and responses are streams of TraceProcessorRpcStream (perfetto's trace_processor.proto).
"use strict";
const fs = require("fs");

const NOT_THERE = -44; // ENOENT, as Emscripten numbers it
const SUCCESS = 0, BAD_FILE = 8; // as WASI does
let memory;
const view = () => new DataView(memory.buffer);

function write(fd, vectors, count, written) {
  let total = 0;
  for (let i = 0; i < count; i++) {
    const at = view().getUint32(vectors + 8 * i, true);
    const size = view().getUint32(vectors + 8 * i + 4, true);
    fs.writeSync(2, new Uint8Array(memory.buffer, at, size)); // stdout is for responses
    total += size;
  }
  view().setUint32(written, total, true);
  return SUCCESS;
}

const calls = {
  emscripten_get_now: () => performance.now(),
  emscripten_date_now: () => Date.now(),
  emscripten_get_heap_max: () => 2 ** 32 - 65536,
  emscripten_resize_heap: (size) => {
    const pages = Math.ceil(((size >>> 0) - memory.buffer.byteLength) / 65536);
    try {
      memory.grow(Math.max(pages, 256));
      return 1;
    } catch {
      return 0;
    }
  },
  __assert_fail: () => { throw new Error("assertion failed"); },
  _abort_js: () => { throw new Error("aborted"); },
  clock_time_get: (id, precision, out) => {
    view().setBigUint64(out, process.hrtime.bigint(), true);
    return SUCCESS;
  },
  environ_sizes_get: (count, size) => {
    view().setUint32(count, 0, true);
    view().setUint32(size, 0, true);
    return SUCCESS;
  },
  environ_get: () => SUCCESS,
  fd_write: write,
  fd_close: () => SUCCESS,
  fd_read: () => BAD_FILE,
  fd_seek: () => BAD_FILE,
  fd_fdstat_get: () => BAD_FILE,
};
const anything = new Proxy(calls, { get: (known, name) => known[name] ?? (() => NOT_THERE), has: () => true });

// A JavaScript function as one that WebAssembly can call by its number: (i32, i32) -> nothing.
function callable(table, callback) {
  const bytes = Uint8Array.of(
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // header
    1, 6, 1, 0x60, 2, 0x7f, 0x7f, 0, // type 0
    2, 7, 1, 1, 0x65, 1, 0x66, 0, 0, // import e.f
    7, 5, 1, 1, 0x66, 0, 0, // export f
  );
  const wrapped = new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { f: callback } });
  const number = table.grow(1);
  table.set(number, wrapped.exports.f);
  return number;
}

const module_ = new WebAssembly.Module(fs.readFileSync(process.argv[2]));
const processor = new WebAssembly.Instance(module_, { env: anything, wasi_snapshot_preview1: anything }).exports;
memory = processor.memory;
processor.emscripten_stack_init?.();
processor.__wasm_call_ctors();
processor.__main_argc_argv(0, 0);
const SIZE = 1 << 20;
const respond = callable(processor.__indirect_function_table, (at, size) => {
  const copy = Buffer.from(new Uint8Array(memory.buffer, at, size));
  for (let done = 0; done < copy.length; ) done += fs.writeSync(1, copy, done);
});
const buffer = processor.trace_processor_rpc_init(respond, SIZE);
const requests = fs.openSync("/dev/stdin", "r");
const chunk = Buffer.alloc(SIZE);
for (;;) {
  const size = fs.readSync(requests, chunk, 0, SIZE, null);
  if (!size) break;
  new Uint8Array(memory.buffer, buffer, size).set(chunk.subarray(0, size));
  processor.trace_processor_on_rpc_request(size);
}

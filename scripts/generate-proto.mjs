// Generates test/protocol/gen from proto/tinker_public.proto, offline, with the installed buf and protoc-gen-es. The tests
// hold the hand-written codecs of src/protocol against this code, in both directions.
// With --check it fails when the committed output is not what the proto file gives.
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "./rooms.mjs"

const bin = join(root, "node_modules", ".bin")
const file = "tinker_public_pb.ts"
const committed = join(root, "test", "protocol", "gen", file)
const check = process.argv.includes("--check")
const out = check ? mkdtempSync(join(tmpdir(), "generate-proto-")) : join(root, "test", "protocol", "gen")
const template = {
  version: "v2",
  plugins: [{
    local: join(bin, "protoc-gen-es"),
    out,
    opt: ["target=ts", "import_extension=js", "keep_empty_files=false"]
  }]
}
execFileSync(join(bin, "buf"), ["generate", "proto", "--template", JSON.stringify(template)], {
  cwd: root,
  stdio: "inherit"
})
if (check) {
  const fresh = readFileSync(join(out, file), "utf8")
  rmSync(out, { recursive: true })
  if (fresh !== readFileSync(committed, "utf8")) {
    console.error("test/protocol/gen is not what proto/tinker_public.proto gives: run node scripts/generate-proto.mjs")
    process.exit(1)
  }
  console.log("proto: generated code is up to date")
}

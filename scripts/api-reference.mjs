// `npm run docs`: the API reference of the public modules, from their comments, into api/ (typedoc).
import { run } from "./project.mjs"
import { publicModules } from "./rooms.mjs"

const entries = publicModules().flatMap(({ path }) => ["--entryPoints", path])
run("node", ["node_modules/typedoc/bin/typedoc", ...entries])

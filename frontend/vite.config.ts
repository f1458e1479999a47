// Builds ../dist/index.umd.js. React, MUI and FiftyOne's packages are globals of the App and not bundled.
import path from "node:path";
import { fileURLToPath } from "node:url";

// the build plugin requires the variable; it is only used for packages of FiftyOne that are not globals
process.env["FIFTYONE_DIR"] ??= "unused";
const { defineConfig } = await import("@voxel51/fiftyone-js-plugin-build");
const folder = path.dirname(fileURLToPath(import.meta.url));

export default defineConfig(folder, {
  buildConfigOverride: { outDir: path.join(folder, "..", "dist"), emptyOutDir: false, sourcemap: false },
  vite: { define: { "process.env.NODE_ENV": '"production"' }, mode: "production" },
});

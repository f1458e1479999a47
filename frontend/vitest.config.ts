import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

// packages that are globals of the App, and not on npm
const app = fileURLToPath(new URL("./tests/app.ts", import.meta.url));
const packages = ["@fiftyone/operators", "@fiftyone/plugins", "@fiftyone/spaces", "@fiftyone/state", "recoil"];

export default defineConfig({
  test: { environment: "jsdom", include: ["tests/**/*.test.ts?(x)"], testTimeout: 60_000 },
  resolve: { alias: Object.fromEntries(packages.map((name) => [name, app])) },
});

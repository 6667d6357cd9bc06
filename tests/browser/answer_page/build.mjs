/* Bundle the page as the app's own build does. Arguments: the folder of the page's files, the folder to write. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [root, outDir] = process.argv.slice(2);
const vite = createRequire(`${root}/`).resolve("vite");
const { build } = await import(pathToFileURL(vite).href);
await build({ root, configFile: false, logLevel: "error", build: { outDir, emptyOutDir: true, minify: true } });

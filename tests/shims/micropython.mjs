// node micropython.mjs PACKAGE FILE...: run MicroPython on the program from stdin, with files as /lib/<name>=<path>.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(folder + "/micropython.mjs").href);
const python = await loadMicroPython({
  heapsize: 4 * 1024 * 1024,
  stdout: (line) => process.stdout.write(line + "\n"),
  linebuffer: true,
});
python.FS.mkdir("/lib");
for (const row of files) {
  const [name, path] = row.split("=");
  const parents = ("/lib/" + name).split("/").slice(2, -1);
  parents.reduce((above, part) => {
    const place = above + "/" + part;
    if (!python.FS.analyzePath(place).exists) python.FS.mkdir(place);
    return place;
  }, "/lib");
  python.FS.writeFile("/lib/" + name, fs.readFileSync(path));
}
try {
  python.runPython("import sys\nsys.path.insert(0, '/lib')\n" + fs.readFileSync(0, "utf8"));
} catch (error) {
  console.error(String(error));
  process.exit(1);
}

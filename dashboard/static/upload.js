// A chosen file goes from the browser to the link that Python gives out for it, past the server of the pages.
//
//   chosen  told to Python when a file was chosen: {nonce, name, type, size}; it answers with `data.link` or `data.problem`
//   done    told when the file has arrived: {nonce}; Python asks the database whether it has

const uploads = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let upload = uploads.get(parentElement);
  if (!upload) {
    upload = new Upload(parentElement);
    uploads.set(parentElement, upload);
  }
  upload.follow(data, setTriggerValue);
  // Also called between two runs of the page: only who has left it no longer waits for the file.
  return () => setTimeout(() => parentElement.isConnected || upload.leave());
}

class Upload {
  constructor(root) {
    const find = (words) => root.querySelector(words);
    this.box = find(".box");
    this.input = find("input");
    this.label = find("label");
    this.note = find(".note");
    this.way = find(".way");
    this.bar = find("progress");
    this.far = find(".far");
    this.said = find(".said");
    this.wrong = find(".wrong");
    this.again = find(".again");
    this.phase = "idle";
    this.input.addEventListener("change", () => this.input.files.length && this.choose(this.input.files[0]));
    // The same file may be chosen again: without this the browser would not say so.
    this.input.addEventListener("click", () => (this.input.value = ""));
    this.again.addEventListener("click", () => this.ask());
    find(".cancel").addEventListener("click", () => this.cancel());
    for (const name of ["dragover", "dragleave", "drop"]) {
      this.box.addEventListener(name, (event) => this.drag(event));
    }
  }

  follow(data, tell) {
    this.data = data;
    this.tell = tell;
    this.label.textContent = data.label;
    this.note.textContent = data.note;
    this.input.accept = data.endings.join(",");
    if (this.phase === "asking" && data.link?.nonce === this.nonce) {
      this.send(data.link);
    } else if (this.phase === "asking" && data.problem?.nonce === this.nonce) {
      this.fail(data.problem.sentence, true);
    } else if (this.phase === "idle" && data.stored) {
      this.show("done", `${data.stored.file_name} is uploaded (${megabytes(data.stored.bytes)}).`);
    }
  }

  drag(event) {
    event.preventDefault();
    this.box.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop" && event.dataTransfer.files.length && !this.isBusy()) {
      this.input.files = event.dataTransfer.files;
      this.choose(event.dataTransfer.files[0]);
    }
  }

  choose(file) {
    this.file = file;
    const { endings, bytes_max } = this.data;
    if (!endings.some((ending) => file.name.toLowerCase().endsWith(ending))) {
      this.fail(`${file.name} cannot be read here: choose a file that ends in ${endings.join(" or ")}.`);
    } else if (file.size === 0) {
      this.fail(`${file.name} is empty: choose another file.`);
    } else if (file.size > bytes_max) {
      const [size, most] = [megabytes(file.size), megabytes(bytes_max)];
      this.fail(`${file.name} has ${size}, and ${most} is the most: choose a smaller file, or split it.`);
    } else {
      this.ask();
    }
  }

  ask() {
    this.nonce = `${Date.now()}-${Math.random()}`;
    this.show("asking", `Getting ready to upload ${this.file.name}.`);
    this.tell("chosen", { nonce: this.nonce, name: this.file.name, type: this.file.type, size: this.file.size });
  }

  send(link) {
    const request = (this.request = new XMLHttpRequest());
    this.progress(0);
    this.show("sending", `Uploading ${this.file.name}.`);
    request.open(link.method, link.url);
    for (const [name, value] of Object.entries(link.headers)) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => this.progress(event.loaded);
    request.onload = () => this.answered(request);
    request.onerror = () => this.fail(this.unreachable(link.url), true);
    request.onabort = () => this.cancelled();
    request.send(this.file);
  }

  answered(request) {
    if (request.status === 201) {
      this.show("done", `${this.file.name} is uploaded (${megabytes(this.file.size)}).`);
      this.tell("done", { nonce: this.nonce });
    } else if ([403, 409, 410].includes(request.status)) {
      this.fail("The link for this upload has expired, or was used before: try again, with a new one.", true);
    } else {
      this.fail(sentence(request), request.status !== 413);
    }
  }

  unreachable(url) {
    const here = location.origin;
    const home = new URL(this.data.home).origin;
    if (here !== home) {
      return `This page is open at ${here}, and files are taken from ${home} only: open it there.`;
    }
    return `The upload broke off, or the API at ${new URL(url).origin} cannot be reached: see that it runs, then try again.`;
  }

  progress(bytes) {
    this.bar.value = Math.min(1, bytes / this.file.size);
    this.far.textContent = `${megabytes(bytes, this.file.size)} of ${megabytes(this.file.size)}`;
  }

  fail(words, canBeRepeated = false) {
    this.show("failed", "", words);
    this.again.hidden = !canBeRepeated;
  }

  show(phase, said, wrong = "") {
    const hadFocus = this.way.matches(":focus-within") || this.again.matches(":focus");
    this.phase = phase;
    this.said.textContent = said;
    this.wrong.textContent = wrong;
    this.way.hidden = phase !== "sending";
    this.again.hidden = true;
    this.input.disabled = this.isBusy();
    if (hadFocus && !this.isBusy()) this.input.focus();
  }

  isBusy() {
    return this.phase === "asking" || this.phase === "sending";
  }

  cancel() {
    this.request?.abort();
  }

  cancelled() {
    this.show("cancelled", "Cancelled: nothing was stored.");
    this.input.value = "";
  }

  leave() {
    if (this.request) this.request.onabort = null;
    this.cancel();
  }
}

function sentence(request) {
  let words = "";
  try {
    words = JSON.parse(request.responseText).error;
  } catch {
    words = `the API answered with ${request.status}: try again`;
  }
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

function megabytes(bytes, of = bytes) {
  return of < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(of < 1e8 ? 1 : 0)} MB`;
}

// Sends files one after another to the server's disk, in the background, with progress. Every text is set as textContent.

const senders = new WeakMap();

class Sender {
  constructor(root) {
    this.part = name => root.querySelector(`.${name}`);
    this.input = root.querySelector('input');
    this.zone = this.part('zone');
    this.file = null;
    this.waiting = [];            // files that come after it
    this.sent = [];               // files that have arrived
    this.request = null;
    this.wanted = false;          // a file is chosen, and the server has not said yet where to send it
    this.part('choose').addEventListener('click', () => this.input.click());
    this.part('stop').addEventListener('click', () => this.request?.abort());
    this.input.addEventListener('change', () => this.take(this.input.files));
    this.zone.addEventListener('dragover', event => { event.preventDefault(); this.zone.classList.add('over'); });
    this.zone.addEventListener('dragleave', () => this.zone.classList.remove('over'));
    this.zone.addEventListener('drop', event => {
      event.preventDefault();
      this.zone.classList.remove('over');
      this.take(event.dataTransfer.files);
    });
  }

  update(data, tell) {
    this.data = data;
    this.tell = tell;
    this.input.accept = data.accept.join(',');
    this.input.multiple = data.several;
    this.input.setAttribute('aria-label', data.label);
    this.part('label').textContent = data.label;
    if (!this.request && !this.file) this.say(data.hint);
    if (this.wanted && data.url) this.send();
  }

  take(chosen) {
    const files = [...chosen].slice(0, this.data.several ? undefined : 1);
    this.input.value = '';        // the same file may be chosen again
    if (!files.length || this.request || this.wanted) return;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (size > this.data.limit) {
      const names = files.map(file => file.name).join(', ');
      this.fail(`${names}: ${megabytes(size)}, but only ${megabytes(this.data.limit)} are left. ${this.data.advice}`);
      return;
    }
    this.sent = [];
    this.waiting = files;
    this.next();
  }

  next() {
    this.file = this.waiting.shift();
    this.say(`${this.file.name}: starting`);
    if (this.data.url) this.send();
    else { this.wanted = true; this.tell('wanted', String(Date.now())); }
  }

  send() {
    this.wanted = false;
    const request = this.request = new XMLHttpRequest();
    request.open('PUT', `${this.data.url}?name=${encodeURIComponent(this.file.name)}`);
    request.upload.onprogress = event => this.progress(event.loaded, event.total);
    request.onload = () => this.arrived(request);
    request.onerror = () => this.fail('The connection was lost before the file had arrived. Choose it again.');
    request.onabort = () => this.fail('Stopped. Nothing was kept.');
    request.send(this.file);
    this.zone.classList.add('busy');
  }

  progress(done, total) {
    this.part('bar').style.width = `${100 * done / total}%`;
    this.say(`${this.file.name}: ${megabytes(done)} of ${megabytes(total)}`);
  }

  arrived(request) {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* a proxy may answer in its own words */ }
    if (request.status !== 200) { this.fail(answer.problem || `The server answered ${request.status}. Choose it again.`); return; }
    const name = this.file.name;
    this.sent.push({ stored: answer.stored, name });
    if (this.waiting.length) { this.next(); return; }
    this.end();
    this.say(`${name} has arrived`);
    this.tell('sent', this.sent);
  }

  fail(text) {
    this.end();
    this.say(text, true);
  }

  end() {
    this.request = null;
    this.file = null;
    this.waiting = [];
    this.wanted = false;
    this.zone.classList.remove('busy');
    this.part('bar').style.width = '0';
  }

  say(text, wrong = false) {
    this.part('text').textContent = text;
    this.zone.classList.toggle('wrong', wrong);
  }
}

function megabytes(bytes) {
  const size = bytes / 1e6;
  return `${size < 10 ? size.toPrecision(2) : Math.round(size)} MB`;
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  if (!senders.has(parentElement)) senders.set(parentElement, new Sender(parentElement));
  senders.get(parentElement).update(data, setTriggerValue);
}

'use strict';
// All texts reach the page through textContent, never as markup, because names and values are the target's.
const data = JSON.parse(document.getElementById('data').textContent);
const report = data.report;
const span = Math.max(data.span, 1);
const find = (id) => document.getElementById(id);

function element(tag, attributes, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name === 'text') made.textContent = value;
		else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
		else made.setAttribute(name, value);
	}
	made.append(...children);
	return made;
}

function duration(ns) {
	const units = [['ns', 1], ['us', 1e3], ['ms', 1e6], ['s', 1e9]];
	let [unit, size] = units[0];
	for (const [u, s] of units) if (ns >= s) [unit, size] = [u, s];
	const n = ns / size;
	return (size === 1 ? Math.round(n) : n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : Math.round(n)) + ' ' + unit;
}

const number = (n) => Number(n).toLocaleString('en', { maximumFractionDigits: 0 });
const percent = (part, all) => (all ? 100 * part / all : 0).toFixed(1) + ' %';

// The time of day, in UTC, of a time since the first record.
function clock(ns) {
	const ms = Number(BigInt(report.begin || 0) / 1000000n) + ns / 1e6;
	if (!(ms >= 0 && ms < 8e15)) return duration(ns);
	return new Date(ms).toISOString().slice(0, 23).replace('T', ' ');
}

// A colour that depends on the name only.
const colours = new Map();
function colour(name) {
	let found = colours.get(name);
	if (found) return found;
	let hash = 2166136261;
	for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619) >>> 0;
	found = `hsl(${hash % 360} ${45 + (hash >>> 9) % 20}% ${62 + (hash >>> 17) % 14}%)`;
	colours.set(name, found);
	return found;
}

const nameOf = (i) => (i < 0 ? '(other)' : data.functions[i]);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Makes a canvas as sharp as the screen, and returns its context and its size in CSS pixels.
function prepare(canvas, height) {
	const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth;
	canvas.style.height = height + 'px';
	canvas.width = Math.round(width * ratio);
	canvas.height = Math.round(height * ratio);
	const context = canvas.getContext('2d');
	context.setTransform(ratio, 0, 0, ratio, 0, 0);
	context.clearRect(0, 0, width, height);
	context.font = '11px system-ui, sans-serif';
	context.textBaseline = 'middle';
	return [context, width, height];
}

// Draws a text if it fits, cut if needed.
function label(context, text, x, y, width) {
	if (width < 18) return;
	const fits = Math.floor((width - 6) / 6);
	context.fillText(text.length > fits ? text.slice(0, Math.max(fits - 1, 1)) + '…' : text, x + 3, y);
}

// Draws a text that stays readable on what is below it.
function title(context, text, x, y) {
	const width = context.measureText(text).width, fill = context.fillStyle;
	context.fillStyle = style('--back');
	context.globalAlpha = 0.75;
	context.fillRect(x - 2, y - 7, width + 4, 14);
	context.globalAlpha = 1;
	context.fillStyle = fill;
	context.fillText(text, x, y);
}

function hint(event, text) {
	const box = find('hint');
	box.hidden = !text;
	if (!text) return;
	box.textContent = text;
	const x = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
	const below = event.clientY + 16 + box.offsetHeight < window.innerHeight;
	box.style.left = Math.max(x, 4) + 'px';
	box.style.top = (below ? event.clientY + 16 : Math.max(event.clientY - box.offsetHeight - 10, 4)) + 'px';
}

// Calls draw at most once a frame.
function later(draw) {
	let waits = false;
	return () => {
		if (waits) return;
		waits = true;
		requestAnimationFrame(() => { waits = false; draw(); });
	};
}

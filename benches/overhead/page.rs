//! The page of the documentation: each part is text between two markers.

use std::path::{Path, PathBuf};

const PAGE: &str = "src/docs/performance.md";
/// Plots, and the same as definitions for rustdoc, which cannot reach files.
const PLOTS: &str = "src/docs/performance";

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) write: bool,
}

impl Page {
    /// Prints a part, and puts it in its place on the page.
    pub(crate) fn part(self, name: &str, text: &str) {
        println!("\n## {name}\n\n{text}");
        if !self.write {
            return;
        }
        let path = root().join(PAGE);
        let page = std::fs::read_to_string(&path).expect("the page");
        let (begin, end) = (
            format!("<!-- {name}: begin -->"),
            format!("<!-- {name}: end -->"),
        );
        let (head, rest) = page.split_once(&begin).expect("the marker of the begin");
        let (_, tail) = rest.split_once(&end).expect("the marker of the end");
        let page = format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim());
        std::fs::write(path, page).expect("the page is written");
    }

    /// Plots by name: files for who reads the page as a file, one file of definitions for rustdoc.
    pub(crate) fn plots(self, plots: &[(&str, String)]) {
        if !self.write {
            return;
        }
        let folder = root().join(PLOTS);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut definitions = String::new();
        for (name, svg) in plots {
            std::fs::write(folder.join(format!("{name}.svg")), svg).expect("a plot");
            definitions.push_str(&format!("[plot-{name}]: {}\n", address(svg)));
        }
        std::fs::write(folder.join("plots.md"), definitions).expect("definitions");
    }
}

/// The image as an address that holds it.
fn address(svg: &str) -> String {
    let mut address = "data:image/svg+xml,".to_owned();
    for byte in svg.trim().bytes() {
        match byte {
            b'='
            | b'/'
            | b':'
            | b';'
            | b','
            | b'.'
            | b'-'
            | b'0'..=b'9'
            | b'A'..=b'Z'
            | b'a'..=b'z' => {
                address.push(char::from(byte));
            }
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

//! A zip archive written byte by byte, so that each of its statements can be made to contradict another.

use flate2::Crc;

/// What the end of an archive and its members say.
#[derive(Debug, Clone)]
pub struct RawZip {
    pub members: Vec<RawMember>,
    /// Entries, as the end of the directory counts them.
    pub count: u16,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    pub comment: Vec<u8>,
}

/// A stored member and the two headers that describe it.
#[derive(Debug, Clone)]
pub struct RawMember {
    pub data: Vec<u8>,
    pub local: RawHeader,
    pub central: RawHeader,
    /// Whether the directory has it.
    pub listed: bool,
    /// Kind and permissions, as Unix has them; 0 when nothing is said.
    pub mode: u32,
}

#[derive(Debug, Clone)]
pub struct RawHeader {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub size: u32,
}

impl RawMember {
    pub fn both(&mut self, change: impl Fn(&mut RawHeader)) {
        change(&mut self.local);
        change(&mut self.central);
    }
}

impl RawHeader {
    /// What both kinds of header have in common, from the version needed to the length of the name.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(20_u16.to_le_bytes());
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        // 00:00 on the first of January 1980.
        out.extend([0, 0, 0x21, 0]);
        out.extend(self.crc.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
    }
}

impl RawZip {
    pub fn of(files: &[(String, Vec<u8>)]) -> Self {
        let members: Vec<RawMember> = files
            .iter()
            .map(|(name, data)| {
                let mut crc = Crc::new();
                crc.update(data);
                let header = RawHeader {
                    name: name.clone().into_bytes(),
                    flags: 1 << 11,
                    method: 0,
                    crc: crc.sum(),
                    size: data.len() as u32,
                };
                RawMember {
                    data: data.clone(),
                    local: header.clone(),
                    central: header,
                    listed: true,
                    mode: 0,
                }
            })
            .collect();
        let count = members.len() as u16;
        Self { members, count, before: Vec::new(), after: Vec::new(), comment: Vec::new() }
    }

    /// Offsets count from the beginning of the archive, not of what stands before it.
    pub fn build(&self) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for member in &self.members {
            let offset = out.len() as u32;
            out.extend(b"PK\x03\x04");
            member.local.write(&mut out);
            out.extend([0; 2]);
            out.extend(&member.local.name);
            out.extend(&member.data);
            if member.listed {
                directory.extend(b"PK\x01\x02");
                // The version 2.0 of the format, on MS-DOS (0) or Unix (3).
                directory.extend([20, if member.mode == 0 { 0 } else { 3 }]);
                member.central.write(&mut directory);
                directory.extend([0; 8]);
                directory.extend((member.mode << 16).to_le_bytes());
                directory.extend(offset.to_le_bytes());
                directory.extend(&member.central.name);
            }
        }
        let offset = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(self.count.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.after);
        [self.before.as_slice(), &out].concat()
    }
}
